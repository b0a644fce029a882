// The standard names that a program expects from every JavaScript engine, led to the host. mpkg offers these exports to
// the bundler in place of the engine's own, which inside a guest are constants: time stands still there, and
// Math.random repeats itself. Only the names that a program uses are bundled, so its component imports `clock`,
// `random` or `log` only if it needs them.

import { monotonic, now } from '../clock.js';
import { debug, error, info, warn } from '../log.js';
import { bytes, float, uuid } from '../random.js';

const HostDate = /* @__PURE__ */ makeDate(globalThis.Date);
const hostConsole = /* @__PURE__ */ makeConsole();

function makeDate(EngineDate) {
  function Date(...fields) {
    if (!new.target) return new EngineDate(now()).toString();
    return Reflect.construct(EngineDate, fields.length === 0 ? [now()] : fields, new.target);
  }
  Date.prototype = EngineDate.prototype;
  Date.now = now;
  Date.parse = EngineDate.parse;
  Date.UTC = EngineDate.UTC;
  return Date;
}

function makeConsole() {
  const line = (write) => (...values) => write(values.map(readable).join(' '));
  return {
    debug: line(debug),
    log: line(info),
    info: line(info),
    warn: line(warn),
    error: line(error),
    assert: (holds, ...values) => holds || line(error)('Assertion failed:', ...values),
  };
}

function readable(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.stack ? `${value.name}: ${value.message}\n${value.stack}` : String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

// The engine's own would stop the whole app: there is nothing in a guest that they could wait for.
function noTimers() {
  throw new Error("a Mini App runs when the host calls it: import { timers } from '@mpkg/sdk'");
}

function noFetch() {
  throw new Error("a Mini App has no fetch of its own: import { network } from '@mpkg/sdk'");
}

function performanceNow() {
  return monotonic() / 1e6;
}

function getRandomValues(array) {
  const target = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  if (target.length > 0) target.set(bytes(target.length));
  return array;
}

export {
  HostDate as Date,
  hostConsole as console,
  noFetch as fetch,
  noTimers as setInterval,
  noTimers as setTimeout,
  float as random,
  performanceNow,
  getRandomValues,
  uuid as randomUUID,
};
