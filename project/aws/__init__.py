"""What a cluster on Amazon's machines needs to scale by itself."""
