'use strict';
// The JavaScript harness: answers requests of the protocol in language.py for programs run by Node.
//
//   node --single-threaded --v8-pool-size=0 harness.js --once    one request, in this process
//   node --single-threaded --v8-pool-size=0 harness.js --serve   one forked child per request (needs the addon)
//
// AZR_JAVASCRIPT_ADDON names the built clone.c. It forks, limits, watches and replies; a serving process is
// inside one call of it from "ready" to the end, so the next request's child never inherits one request's data. Without
// the addon `--once` still answers; then only the host sets limits and the seccomp filter.
//
// Everything used after the program ran is captured before it: the program shares this realm.

const fs = require('fs');
const vm = require('vm');
const v8 = require('v8');
const { Module } = require('module');
const { types: { isProxy } } = require('util');
const { parse, parseArguments, emit, emitArguments, failure, isFailure } = require('./values.js');

const { apply, getPrototypeOf, getOwnPropertyDescriptor, defineProperty } = Reflect;
const { hasOwn, setPrototypeOf } = Object;
const uncurryThis = Function.prototype.bind.bind(Function.prototype.call);
const charCodeAt = uncurryThis(String.prototype.charCodeAt);
const slice = uncurryThis(String.prototype.slice);
const indexOf = uncurryThis(String.prototype.indexOf);
const { fromCharCode } = String;
const toText = String;
const TypeErrorOfNode = TypeError;
const toNumber = Number;
const { parseFloat } = globalThis;
const { readFileSync, writeSync } = fs;
const { reallyExit } = process;
const { compileFunction } = vm;
const monotonicNs = process.hrtime.bigint;

const PROGRAM_FILE = '/program.js';
const KIND_CHARS = 100;
const FIRST_INPUT = 4; // fields of a request before it: kind, limits, seed, source
const UNASSISTED_BASE_MIB = 64; // Node's own memory, if only the peak is known
const WARM_UP_ROUNDS = 30;
const addon = process.env.AZR_JAVASCRIPT_ADDON ? require(process.env.AZR_JAVASCRIPT_ADDON) : null;
const WRAPPER_NAMES = ['exports', 'require', 'module', '__filename', '__dirname'];
const COMPILE_OPTIONS = { filename: PROGRAM_FILE, lineOffset: -1 };
if (vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER) {
  COMPILE_OPTIONS.importModuleDynamically = vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
}
const makeRequire = Module.createRequire(PROGRAM_FILE);

/** UTF-8 of a string as a string of bytes; a lone surrogate becomes U+FFFD. */
function utf8(text) {
  let bytes = '';
  for (let i = 0; i < text.length; i++) {
    let code = charCodeAt(text, i);
    if (code < 0x80) {
      bytes += text[i];
      continue;
    }
    if (code >= 0xd800 && code <= 0xdfff) {
      const low = i + 1 < text.length ? charCodeAt(text, i + 1) : 0;
      if (code < 0xdc00 && low >= 0xdc00 && low <= 0xdfff) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i += 1;
      } else {
        code = 0xfffd;
      }
    }
    if (code < 0x800) bytes += fromCharCode(0xc0 | (code >> 6));
    else if (code < 0x10000) bytes += fromCharCode(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63));
    else bytes += fromCharCode(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63));
    bytes += fromCharCode(0x80 | (code & 63));
  }
  return bytes;
}

const u32 = (n) => fromCharCode((n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255);

/** A frame of `count` fields as a string of bytes; `fields` needs own elements only. */
function frame(fields, count) {
  let bytes = u32(count);
  for (let i = 0; i < count; i++) {
    const field = utf8(fields[i]);
    bytes += u32(field.length) + field;
  }
  return bytes;
}

function writeBytes(descriptor, bytes) {
  while (bytes.length > 0) bytes = slice(bytes, writeSync(descriptor, bytes, null, 'latin1'));
}

// One read is enough for most requests; the memory is there before a fork.
const requestBuffer = Buffer.alloc(1 << 16);

/** The fields of the frame in the first `size` bytes as text, or null while it is incomplete; an input not in UTF-8: null. */
function fieldsOf(buffer, size) {
  if (size < 4) return null;
  const count = buffer.readUInt32BE(0);
  const fields = [];
  let at = 4;
  while (fields.length < count) {
    if (at + 4 > size) return null;
    const end = at + 4 + buffer.readUInt32BE(at);
    if (end > size) return null;
    const text = buffer.toString('utf8', at + 4, end);
    // In a program bytes that are not UTF-8 are read as Node reads a file; an input with such bytes is no value.
    const isInput = fields.length >= FIRST_INPUT && text.includes('\ufffd');
    fields.push(isInput && Buffer.compare(Buffer.from(text), buffer.subarray(at + 4, end)) !== 0 ? null : text);
    at = end;
  }
  return fields;
}

/** The fields of the next request as text, or null at the end of `descriptor`. */
function readFields(descriptor) {
  let buffer = requestBuffer;
  for (let size = 0; ;) {
    if (size === buffer.length) {
      const larger = Buffer.alloc(2 * size);
      buffer.copy(larger);
      buffer = larger;
    }
    const count = fs.readSync(descriptor, buffer, size, buffer.length - size, null);
    if (count === 0) return null;
    size += count;
    const fields = fieldsOf(buffer, size);
    if (fields !== null) return fields;
  }
}

function toRequest([kind, limits, seed, source, ...inputs]) {
  const [wallS, cpuS, memoryMib, valueChars, messageChars] = limits.split(' ').map(Number);
  return { kind, wallS, cpuS, memoryMib, valueChars, messageChars, seed, source, inputs };
}

/** The own or inherited data property `key`, found without running any code of the program. */
function dataProperty(object, key) {
  for (let holder = object, steps = 0; holder !== null && steps < 100; holder = getPrototypeOf(holder), steps++) {
    if ((typeof holder !== 'object' && typeof holder !== 'function') || isProxy(holder)) return undefined;
    const descriptor = getOwnPropertyDescriptor(holder, key);
    if (descriptor !== undefined) return hasOwn(descriptor, 'value') ? descriptor.value : undefined;
  }
  return undefined;
}

/** The name of a thrown value's constructor, and its message. */
function describe(thrown) {
  if (typeof thrown !== 'object' && typeof thrown !== 'function') {
    return { kind: typeof thrown, message: toText(thrown) };
  }
  if (thrown === null) return { kind: 'null', message: 'null' };
  const constructor = dataProperty(thrown, 'constructor');
  const name = typeof constructor === 'function' ? dataProperty(constructor, 'name') : undefined;
  const message = dataProperty(thrown, 'message');
  return {
    kind: typeof name === 'string' && name.length > 0 ? slice(name, 0, KIND_CHARS) : 'Error',
    message: typeof message === 'string' ? message : '',
  };
}

/** An outcome as a list of reply fields (status, kind, message, value 1, ...), with a null prototype. */
function outcome(status, kind, message, limits) {
  const fields = setPrototypeOf([], null);
  fields[0] = status;
  fields[1] = kind;
  fields[2] = slice(message, 0, limits.messageChars);
  return fields;
}

function thrownOutcome(thrown, limits) {
  const { kind, message } = describe(thrown);
  // Buffers are outside V8's heap: there the memory limit appears as this exception.
  const isMemory = kind === 'RangeError' && message === 'Array buffer allocation failed';
  return isMemory ? outcome('memory', '', '', limits) : outcome('runtime_error', kind, message, limits);
}

function failureOutcome(caught, limits) {
  return isFailure(caught) ? outcome(caught.status, '', caught.message, limits) : thrownOutcome(caught, limits);
}

/** The program's module: the main one of its process. */
function makeModule() {
  const module = new Module(PROGRAM_FILE, null);
  module.id = '.';
  module.filename = PROGRAM_FILE;
  module.paths = Module._nodeModulePaths('/');
  Module._cache[PROGRAM_FILE] = module;
  process.mainModule = module;
  makeRequire.main = module;
  return module;
}

/**
 * Compiles a program as Node does a CommonJS file. A first statement, on an extra line before the file's first, passes
 * out a function that reads `f` in the scope of the file once the file has run, also if it returns early.
 * Returns a function of the module that runs the file and returns that reader; throws what the compiler throws.
 */
function compileProgram(source) {
  const text = source.charCodeAt(0) === 0xfeff ? source.slice(1) : source;
  // In strict mode if the file is: after a statement its directive would have no effect. Without the words it is not.
  const isStrict = text.includes('use strict')
    && !hasOwn(compileFunction(text, WRAPPER_NAMES, COMPILE_OPTIONS), 'arguments');
  const prefix = `${isStrict ? '"use strict";' : ''}this[0]=()=>f;\n`;
  const body = text.startsWith('#!') ? `//${text}` : text;
  const run = compileFunction(prefix + body, WRAPPER_NAMES, COMPILE_OPTIONS);
  return (module) => {
    const { exports } = module;
    let readF;
    defineProperty(exports, 0, {
      __proto__: null,
      configurable: true,
      set(read) {
        delete exports[0];
        readF = read;
      },
    });
    apply(run, exports, [exports, makeRequire, module, PROGRAM_FILE, '/']);
    return readF;
  };
}

/** Runs a program on every input; the first failure is the outcome. */
function evaluate(request, module) {
  const inputs = setPrototypeOf(request.inputs.map(parseArguments), null);
  const count = inputs.length;
  let runFile;
  try {
    runFile = compileProgram(request.source);
  } catch (thrown) {
    const isSyntax = thrown instanceof SyntaxError;
    return isSyntax ? outcome('syntax_error', 'SyntaxError', describe(thrown).message, request)
      : thrownOutcome(thrown, request);
  }
  const fields = outcome('ok', '', '', request);
  let f;
  try {
    f = runFile(module)();
  } catch (thrown) {
    return thrownOutcome(thrown, request);
  }
  for (let i = 0; i < count; i++) {
    let value;
    try {
      if (typeof f !== 'function') throw new TypeErrorOfNode('f is not a function');
      value = apply(f, undefined, inputs[i]);
    } catch (thrown) {
      return thrownOutcome(thrown, request);
    }
    fields[3 + i] = emit(value, request.valueChars);
  }
  return fields;
}

/** An outcome with the text that `write` returns for each input. */
function written(request, write) {
  const fields = outcome('ok', '', '', request);
  for (let i = 0; i < request.inputs.length; i++) fields[3 + i] = write(request.inputs[i]);
  return fields;
}

const readBack = (request) => written(request, (text) => emit(parse(text), request.valueChars));

const readArguments = (request) => written(request, (text) => emitArguments(parseArguments(text), request.valueChars));

/** Replaces f while inputs are evaluated. */
function callsTheFunction() {
  throw new Error("an input can't call f: it is evaluated before and without the program");
}

/** Evaluates argument lists of any expressions, without a program. */
function evaluateArguments(request) {
  return written(request, (text) => {
    if (text === null) throw failure('forbidden', 'not a value: no UTF-8');
    let values;
    try {
      // Both must compile, or a text such as "1)+(2" would pass for an argument list.
      compileFunction(`f(${text}\n)`);
      values = compileFunction(`return[${text}\n]`, ['f'])(callsTheFunction);
    } catch (thrown) {
      const { kind, message } = describe(thrown);
      throw failure('forbidden', `the input can't be evaluated: ${kind}: ${message}`);
    }
    if (values.length === 0) throw failure('forbidden', 'no argument list: f needs an argument');
    return emitArguments(values, request.valueChars);
  });
}

const ANSWERS = {
  __proto__: null, evaluate, value: readBack, arguments: readArguments, expressions: evaluateArguments,
};

/** The outcome of a request, as a list of reply fields. */
function answer(request, module) {
  try {
    return ANSWERS[request.kind](request, module);
  } catch (caught) {
    return failureOutcome(caught, request);
  }
}

/** Seeds Math.random, the same for all programs of a process, and replaces Node's teardown, which waits for threads. */
function personalise(seed) {
  v8.setFlagsFromString(`--random-seed=${1 + (Number(seed) % 0x7ffffffe)}`);
  if (addon !== null) process.reallyExit = (code) => addon.exit(toNumber(code) | 0);
}

/** Hides this harness from the program: the program is the main file of an ordinary `node FILE`. */
function disguise() {
  for (const name of Object.keys(process.env)) if (name.startsWith('AZR_')) delete process.env[name];
  for (const file of Object.keys(Module._cache)) delete Module._cache[file];
  module.children.length = 0;
  process.argv = [process.execPath, PROGRAM_FILE];
  process.execArgv = [];
}

/** Drops start-up garbage: a smaller heap is cheaper to fork, and unused pages are cheaper to write. */
function collectGarbage() {
  v8.setFlagsFromString('--no-flush-bytecode');
  v8.setFlagsFromString('--expose-gc');
  vm.runInNewContext('gc')();
  v8.setFlagsFromString('--no-expose-gc');
}

/** Runs everything as often as V8 needs to compile it fully, so that children inherit compiled code. */
function warmUp() {
  for (const name of ['assert', 'events', 'os', 'path', 'util']) require(name);
  console.log('');
  const zeros = fs.openSync('/dev/zero', 'r');
  const inputs = ['[1, -2.5, "a\\u00e9", {"b": [true, null, undefined, 10n]}, new Map([[1, 2]]), new Set(["x"])]', '[1,2]'];
  const sources = [
    'const g = (x) => x; function f(x) { return g(x); }', '"use strict"; const f = (x) => x;', 'function f(', 'throw 1',
    'function f(x) { throw new TypeError("no"); }', 'function f(x) { return Symbol(); }',
  ];
  const frameBuffer = Buffer.from(frame(['evaluate', '1 1 512 4096 500', '1', sources[0], ...inputs], 6), 'latin1');
  for (let round = 0; round < WARM_UP_ROUNDS; round++) {
    for (const source of sources) {
      readFields(zeros);
      fieldsOf(frameBuffer, frameBuffer.length);
      const request = toRequest(['evaluate', '1 1 512 4096 500', '1', source, ...inputs]);
      const fields = answer(request, makeModule());
      frame(fields, fields.length);
    }
    answer(toRequest(['value', '1 1 512 4096 500', '1', '', ...inputs]));
  }
  fs.closeSync(zeros);
}

/** Peak resident memory since this program was started; resourceUsage() would count the process' memory before that. */
function peakMemoryMib() {
  const status = readFileSync('/proc/self/status', 'latin1');
  const start = indexOf(status, 'VmHWM:') + 6;
  return parseFloat(slice(status, start, start + 20)) / 1024;
}

function onceWithoutAddon(module) {
  const received = readFields(0);
  if (received === null) return;
  const request = toRequest(received);
  const startNs = monotonicNs();
  const fields = answer(request, module);
  const memoryMib = peakMemoryMib();
  if (memoryMib > request.memoryMib + UNASSISTED_BASE_MIB) {
    fields.length = 3;
    fields[0] = 'memory';
  }
  const reply = setPrototypeOf([], null);
  for (let i = 0; i < 3; i++) reply[i] = fields[i];
  reply[3] = `${toNumber(monotonicNs() - startNs) / 1e9}`;
  reply[4] = `${memoryMib}`;
  for (let i = 3; i < fields.length; i++) reply[i + 2] = fields[i];
  writeBytes(3, frame(reply, reply.length));
  reallyExit(0);
}

function main() {
  const serves = process.argv[2] === '--serve';
  const { AZR_CHILD_FILTER: filterPath = '', AZR_NEW_PID: newPid = '0', AZR_HASH_SEED: seed = '0' } = process.env;
  disguise();
  personalise(seed);
  if (serves && addon === null) throw new Error('--serve needs AZR_JAVASCRIPT_ADDON, built by `make setup`');
  if (serves) warmUp();
  const module = makeModule();
  if (serves) collectGarbage();
  writeBytes(3, frame(['ready'], 1));
  if (addon === null) {
    onceWithoutAddon(module);
    return;
  }
  // This call returns in each child, and in the server only at the end of descriptor 0.
  if (serves && !addon.serve(filterPath, newPid === '1')) return;
  const received = readFields(0);
  if (received === null) return;
  const request = toRequest(received);
  const { wallS, cpuS, memoryMib, valueChars, messageChars, inputs } = request;
  addon.begin(wallS, cpuS, memoryMib, inputs.length, valueChars, messageChars, serves ? '' : filterPath);
  const fields = answer(request, module);
  addon.finish(frame(fields, fields.length));
}

main();
