// f is a proxy of a bound function of a class; what it returns counts.
const inner = function (x) { return [this === undefined, arguments.length]; };
var f = new Proxy(inner.bind(undefined), { apply: (target, self, list) => Reflect.apply(target, undefined, list) });
