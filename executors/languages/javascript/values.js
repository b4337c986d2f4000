'use strict';
// Values of JavaScript as text, both ways, without running anything.
//
// `parse` reads literals and `new Map([...])`, `new Set([...])`; it runs before the untrusted program.
// `emit` writes the canonical form; it runs after the untrusted program in the same realm, so it calls only functions
// captured here, never looks up a property of an object it did not make, and makes objects without a prototype.

const MAX_DEPTH = 200;

const { types } = require('util');

const { ownKeys, getPrototypeOf, getOwnPropertyDescriptor } = Reflect;
const uncurryThis = Function.prototype.bind.bind(Function.prototype.call);
const hasOwn = Object.hasOwn;
const isArray = Array.isArray;
const { is: sameValue, setPrototypeOf } = Object;
const stringify = JSON.stringify; // on primitive strings only, for which it looks up no property
const arraySort = uncurryThis(Array.prototype.sort);
const mapForEach = uncurryThis(Map.prototype.forEach);
const setForEach = uncurryThis(Set.prototype.forEach);
const setHas = uncurryThis(Set.prototype.has);
const setAdd = uncurryThis(Set.prototype.add);
const setDelete = uncurryThis(Set.prototype.delete);
const SafeSet = Set;
const makeBigInt = BigInt;
const { prototype: objectPrototype } = Object;
const { prototype: arrayPrototype } = Array;
const { prototype: mapPrototype } = Map;
const { prototype: setPrototype } = Set;
const { isProxy, isMap, isSet } = types;

// Objects with internal state that a literal cannot express, even if Object.prototype replaced their prototype.
const EXOTIC_TESTS = [
  types.isArgumentsObject, types.isBoxedPrimitive, types.isDate, types.isRegExp, types.isNativeError, types.isPromise,
  types.isWeakMap, types.isWeakSet, types.isAnyArrayBuffer, types.isArrayBufferView, types.isGeneratorObject,
  types.isMapIterator, types.isSetIterator, types.isModuleNamespaceObject, types.isExternal, types.isMap, types.isSet,
];

/** A failure of a value: a status word and a message, never an object that the program can reach. */
function failure(status, message) {
  return { __proto__: null, azr: true, status, message };
}

const unserialisable = (message) => failure('unserialisable', message);

/** Elements are own properties of a list without a prototype: setters on Array.prototype never see them. */
function newList() {
  return setPrototypeOf([], null);
}

class Emitter {
  constructor(valueChars, inOrder) {
    this.left = valueChars;
    this.inOrder = inOrder;
    this.bigintBound = null;
    this.valueChars = valueChars;
    this.path = new SafeSet();
  }

  text(piece) {
    this.left -= piece.length;
    if (this.left < 0) throw failure('output_limit', 'the value is too long');
    return piece;
  }

  string(value) {
    if (value.length + 2 > this.left) throw failure('output_limit', 'the value is too long');
    return this.text(stringify(value));
  }

  bigint(value) {
    this.bigintBound ??= makeBigInt(10) ** makeBigInt(this.valueChars);
    if (value >= this.bigintBound || value <= -this.bigintBound) throw failure('output_limit', 'the value is too long');
    return this.text(`${value}n`);
  }

  value(value, depth) {
    switch (typeof value) {
      case 'number': return this.text(sameValue(value, -0) ? '-0' : `${value}`);
      case 'string': return this.string(value);
      case 'boolean': return this.text(value ? 'true' : 'false');
      case 'undefined':
        // document.all-like objects have this type too; none is reachable in Node.
        return this.text('undefined');
      case 'bigint': return this.bigint(value);
      case 'object': return value === null ? this.text('null') : this.object(value, depth);
      default: throw unserialisable(`a ${typeof value} has no literal`);
    }
  }

  object(value, depth) {
    if (isProxy(value)) throw unserialisable('a proxy has no literal');
    if (depth >= MAX_DEPTH) throw unserialisable('nested too deep');
    if (setHas(this.path, value)) throw unserialisable('the value contains itself');
    setAdd(this.path, value);
    const prototype = getPrototypeOf(value);
    let text;
    if (isArray(value)) text = this.array(value, prototype, depth);
    else if (prototype === mapPrototype && isMap(value)) text = this.map(value, depth);
    else if (prototype === setPrototype && isSet(value)) text = this.set(value, depth);
    else text = this.plain(value, prototype, depth);
    setDelete(this.path, value);
    return text;
  }

  /** The value of an own data property; accessors, holes and hidden properties have no literal. */
  data(object, key) {
    const descriptor = getOwnPropertyDescriptor(object, key);
    if (descriptor === undefined) throw unserialisable('an array with holes has no literal here');
    if (!hasOwn(descriptor, 'value')) throw unserialisable('an accessor property has no literal');
    if (!descriptor.enumerable) throw unserialisable('a hidden property has no literal');
    return descriptor.value;
  }

  array(value, prototype, depth) {
    if (prototype !== arrayPrototype) throw unserialisable('an instance of a class has no literal');
    const { length } = value;
    if (2 * length > this.left + 2) throw failure('output_limit', 'the value is too long');
    if (ownKeys(value).length !== length + 1) throw unserialisable('an array with holes or properties has no literal here');
    let text = this.text('[');
    for (let i = 0; i < length; i++) {
      if (i > 0) text += this.text(',');
      text += this.value(this.data(value, i), depth + 1);
    }
    return text + this.text(']');
  }

  plain(value, prototype, depth) {
    if (prototype !== objectPrototype && prototype !== null) throw unserialisable('an instance of a class has no literal');
    for (let i = 0; i < EXOTIC_TESTS.length; i++) {
      if (EXOTIC_TESTS[i](value)) throw unserialisable('an object with internal state has no literal');
    }
    const keys = ownKeys(value);
    if (5 * keys.length > this.left) throw failure('output_limit', 'the value is too long');
    for (let i = 0; i < keys.length; i++) {
      if (typeof keys[i] === 'symbol') throw unserialisable('a symbol key has no literal');
    }
    if (!this.inOrder) arraySort(keys, (a, b) => (a < b ? -1 : 1));
    let text = this.text(prototype === null ? '{__proto__:null' : '{');
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      if (i > 0 || prototype === null) text += this.text(',');
      text += key === '__proto__' ? this.text('["__proto__"]') : this.string(key);
      text += this.text(':') + this.value(this.data(value, key), depth + 1);
    }
    return text + this.text('}');
  }

  map(value, depth) {
    if (ownKeys(value).length !== 0) throw unserialisable('a Map with properties has no literal');
    const entries = newList();
    this.text('new Map([])');
    mapForEach(value, (item, key) => {
      const text = this.text('[') + this.value(key, depth + 1) + this.text(',');
      entries[entries.length] = text + this.value(item, depth + 1) + this.text('],');
    });
    return `new Map([${this.joined(entries)}])`;
  }

  set(value, depth) {
    if (ownKeys(value).length !== 0) throw unserialisable('a Set with properties has no literal');
    const entries = newList();
    this.text('new Set([])');
    setForEach(value, (item) => {
      entries[entries.length] = this.value(item, depth + 1) + this.text(',');
    });
    return `new Set([${this.joined(entries)}])`;
  }

  /** Entries end in a comma, which sorts them as the canonical form needs and is dropped from the last one. */
  joined(entries) {
    const { length } = entries;
    if (length === 0) return '';
    this.left += 1;
    if (!this.inOrder) arraySort(entries, (a, b) => (a < b ? -1 : 1));
    let text = '';
    for (let i = 0; i < length; i++) text += entries[i];
    return dropLast(text);
  }
}
// Methods are reached through own properties of a prototype that user code never sees; without Object.prototype behind
// it, nothing a program adds there is found either.
setPrototypeOf(Emitter.prototype, null);

const stringSlice = uncurryThis(String.prototype.slice);
const dropLast = (text) => stringSlice(text, 0, -1);

/**
 * The canonical text of a value, at most `valueChars` characters.
 * Throws a failure (status unserialisable or output_limit).
 */
function emit(value, valueChars) {
  return new Emitter(valueChars, false).value(value, 0);
}

/**
 * The canonical text of an argument list, an array made by the harness, at most `valueChars` characters. Objects, maps
 * and sets keep the order of their entries: a program may depend on it. Throws as `emit` does.
 */
function emitArguments(values, valueChars) {
  const emitter = new Emitter(valueChars, true);
  const { length } = values;
  let text = '';
  for (let i = 0; i < length; i++) {
    if (i > 0) text += emitter.text(', ');
    const descriptor = getOwnPropertyDescriptor(values, i);
    text += emitter.value(descriptor === undefined ? undefined : descriptor.value, 0);
  }
  return text;
}

const NUMBER = /(?:0[xX][\da-fA-F](?:_?[\da-fA-F])*n?|0[oO][0-7](?:_?[0-7])*n?|0[bB][01](?:_?[01])*n?|(?:0|[1-9](?:_?\d)*)n|(?:(?:0|[1-9](?:_?\d)*)(?:\.(?:\d(?:_?\d)*)?)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?)(?![\w$.])/y;
const WORD = /[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/uy;
const SPACE = /[\s\ufeff]*/y;
const NEW_COLLECTION = /new[\s\ufeff]+(Map|Set)(?![\w$])/y;
const WORDS = new Map([
  ['true', true], ['false', false], ['null', null], ['undefined', undefined], ['NaN', NaN], ['Infinity', Infinity],
]);
const ESCAPES = { __proto__: null, n: '\n', t: '\t', r: '\r', b: '\b', v: '\v', f: '\f' };

class Parser {
  constructor(text) {
    this.source = text;
    this.at = 0;
  }

  refuse(what) {
    throw failure('forbidden', `not a value: ${what} at character ${this.at}`);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.source);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }

  /** Skips white space and takes `token` if it comes next. */
  take(token) {
    this.match(SPACE);
    if (!this.source.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }

  expect(token) {
    if (!this.take(token)) this.refuse(`no ${token}`);
  }

  /** Values up to the end of the text, separated by commas; one may follow the last. */
  values() {
    const values = [];
    do {
      values.push(this.value(0));
    } while (this.take(',') && !this.atEnd());
    return values;
  }

  atEnd() {
    this.match(SPACE);
    return this.at === this.source.length;
  }

  value(depth) {
    if (depth > MAX_DEPTH) this.refuse('nested too deep');
    this.match(SPACE);
    const next = this.source[this.at];
    if (next === '[') return this.array(depth);
    if (next === '{') return this.object(depth);
    if (next === '"' || next === "'" || next === '`') return this.string();
    if (this.take('(')) {
      const inner = this.value(depth + 1);
      this.expect(')');
      return inner;
    }
    if (this.take('-')) {
      const operand = this.number();
      return -operand;
    }
    if (this.take('+')) {
      const operand = this.number();
      if (typeof operand === 'bigint') this.refuse('+ before a BigInt');
      return operand;
    }
    return this.collection(depth) ?? this.word();
  }

  number() {
    this.match(SPACE);
    const found = this.match(NUMBER);
    if (found !== null) {
      const digits = found[0].replaceAll('_', '');
      return digits.endsWith('n') ? BigInt(digits.slice(0, -1)) : Number(digits);
    }
    if (this.match(/Infinity(?![\w$])/y)) return Infinity;
    if (this.match(/NaN(?![\w$])/y)) return NaN;
    return this.refuse('no number');
  }

  word() {
    if (/[\d.]/.test(this.source[this.at] ?? '')) return this.number();
    const start = this.at;
    const found = this.match(WORD);
    if (found !== null && WORDS.has(found[0])) return WORDS.get(found[0]);
    this.at = start;
    return this.refuse(found === null ? 'no literal' : 'a name');
  }

  collection(depth) {
    const found = this.match(NEW_COLLECTION);
    if (found === null) return undefined;
    this.expect('(');
    if (this.take(')')) return found[1] === 'Map' ? new Map() : new Set();
    this.match(SPACE);
    if (this.source[this.at] !== '[') this.refuse('no array');
    const items = this.array(depth + 1);
    this.take(',');
    this.expect(')');
    if (found[1] === 'Set') return new Set(items);
    for (const item of items) if (!Array.isArray(item) || item.length !== 2) this.refuse('a Map entry that is no pair');
    return new Map(items);
  }

  array(depth) {
    const items = [];
    this.expect('[');
    while (!this.take(']')) {
      if (items.length > 0) {
        this.expect(',');
        if (this.take(']')) break;
      }
      items.push(this.value(depth + 1));
    }
    return items;
  }

  object(depth) {
    const object = {};
    this.expect('{');
    for (let first = true; !this.take('}'); first = false) {
      if (!first) {
        this.expect(',');
        if (this.take('}')) break;
      }
      const { key, computed } = this.key();
      this.expect(':');
      const value = this.value(depth + 1);
      if (key === '__proto__' && !computed) {
        if (value !== null) this.refuse('a prototype');
        Object.setPrototypeOf(object, null);
      } else {
        Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
      }
    }
    return object;
  }

  key() {
    if (this.take('[')) {
      this.match(SPACE);
      const key = this.string();
      this.expect(']');
      return { key, computed: true };
    }
    this.match(SPACE);
    const next = this.source[this.at];
    if (next === '"' || next === "'") return { key: this.string(), computed: false };
    if (next !== undefined && /[\d.]/.test(next)) return { key: String(this.number()), computed: false };
    const found = this.match(WORD);
    return found === null ? this.refuse('no key') : { key: found[0], computed: false };
  }

  string() {
    const quote = this.source[this.at];
    if (quote !== '"' && quote !== "'" && quote !== '`') this.refuse('no string');
    this.at += 1;
    let text = '';
    for (;;) {
      const unit = this.source[this.at];
      if (unit === undefined) this.refuse('a string without end');
      if (unit === quote) break;
      this.at += 1;
      if (unit === '\\') text += this.escape();
      else if (quote === '`' && unit === '$' && this.source[this.at] === '{') this.refuse('a substitution');
      else if (unit === '\r' && quote === '`') {
        if (this.source[this.at] === '\n') this.at += 1;
        text += '\n';
      } else if ((unit === '\n' || unit === '\r') && quote !== '`') this.refuse('a line end in a string');
      else text += unit;
    }
    this.at += 1;
    return text;
  }

  escape() {
    const unit = this.source[this.at];
    if (unit === undefined) this.refuse('a string without end');
    this.at += 1;
    if (unit in ESCAPES) return ESCAPES[unit];
    if (unit === 'x') return String.fromCharCode(parseInt(this.digits(/[\da-fA-F]{2}/y), 16));
    if (unit === 'u') {
      if (this.source[this.at] !== '{') return String.fromCharCode(parseInt(this.digits(/[\da-fA-F]{4}/y), 16));
      const code = parseInt(this.digits(/\{[\da-fA-F]+\}/y).slice(1, -1), 16);
      return code > 0x10ffff ? this.refuse('a bad escape') : String.fromCodePoint(code);
    }
    if (unit === '\r') {
      if (this.source[this.at] === '\n') this.at += 1;
      return '';
    }
    if (unit === '\n' || unit === '\u2028' || unit === '\u2029') return '';
    if (unit === '0' && !/\d/.test(this.source[this.at] ?? '')) return '\0';
    if (/\d/.test(unit)) this.refuse('an octal escape');
    return unit;
  }

  digits(pattern) {
    const found = this.match(pattern);
    return found === null ? this.refuse('a bad escape') : found[0];
  }
}

function parserOf(text) {
  if (text === null) throw failure('forbidden', 'not a value: no UTF-8');
  return new Parser(text);
}

/** The value written in `text`. Throws a failure of status forbidden for anything else, also for null (not UTF-8). */
function parse(text) {
  const parser = parserOf(text);
  const value = parser.value(0);
  if (!parser.atEnd()) parser.refuse('more text');
  return value;
}

/** The array of values in an argument list, the text between the parentheses of a call; throws as `parse`. */
function parseArguments(text) {
  const parser = parserOf(text);
  if (parser.atEnd()) throw failure('forbidden', 'no argument list: f needs an argument');
  const values = parser.values();
  if (!parser.atEnd()) parser.refuse('more text');
  return values;
}

/** Whether `parse` or `emit` threw a failure; others (no memory, no stack) are the engine's errors. */
const isFailure = (caught) => getPrototypeOf(caught) === null && hasOwn(caught, 'azr');

module.exports = { parse, parseArguments, emit, emitArguments, failure, isFailure };
