sub f { die "\xff" x 10_000_000 }
