"""Remote workers that vanish or report late, while web and cluster are killed; then every job is accounted for."""
