"""Ways to learn. Each states its work before it runs, and is compared on held-out bytes."""
