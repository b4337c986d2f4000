sub f { return length('x' x (1 << 40)) }
