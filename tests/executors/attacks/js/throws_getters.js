function f(x) { throw { get message() { for (;;); }, get constructor() { for (;;); }, get stack() { for (;;); } }; }
