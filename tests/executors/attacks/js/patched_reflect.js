for (const o of [Reflect, Object]) for (const k of Reflect.ownKeys(o)) if (typeof o[k] === "function" && k !== "defineProperty" && k !== "ownKeys") o[k] = () => [42];
function f(x) { return [7, { a: 1n }]; }
