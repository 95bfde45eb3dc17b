"""What is done about failures: the table decides, apply_policy carries out."""
