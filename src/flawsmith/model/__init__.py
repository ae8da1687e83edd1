"""Networks that learn where flaws are."""
