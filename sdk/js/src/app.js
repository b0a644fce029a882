import { InvalidParams, MethodNotFound, toWire } from './errors.js';

const NOTIFICATION = /^(?:lifecycle\.|ui\.|events\.message$|storage\.changed$|timers\.fired$)/;

/**
 * Makes a Mini App of its handlers. Export the result as `app`:
 *
 *     export const app = defineApp({ methods: { 'cart.add': (params, ctx) => … }, on: { 'lifecycle.launched': … } });
 */
export function defineApp({ methods = {}, on = {} }) {
  // Maps, so that a method called `constructor` is one that does not exist.
  const requests = handlers('methods', methods);
  const notifications = handlers('on', on);
  for (const name of notifications.keys()) {
    if (!NOTIFICATION.test(name)) {
      const known = 'lifecycle.…, ui.…, events.message, storage.changed and timers.fired';
      throw new TypeError(`on['${name}'] never happens: notifications are ${known}`);
    }
  }
  let user;

  async function handle(method, params) {
    try {
      const given = parse(method, params);
      if (method === 'lifecycle.launched') user = given?.user;
      const handler = requests.get(method) ?? notifications.get(method);
      if (!handler) {
        // New kinds of notifications must not break old apps.
        if (NOTIFICATION.test(method)) return 'null';
        throw new MethodNotFound(`this app has no method ${method}`);
      }
      const result = await handler(given, { method, user });
      return JSON.stringify(result) ?? 'null';
    } catch (error) {
      throw Object.assign(new Error(method), { payload: toWire(error) });
    }
  }

  return { handle };
}

function handlers(kind, given) {
  const map = new Map(Object.entries(given));
  for (const [name, handler] of map) {
    if (typeof handler !== 'function') throw new TypeError(`${kind}['${name}'] is not a function`);
  }
  return map;
}

function parse(method, params) {
  try {
    return JSON.parse(params);
  } catch {
    throw new InvalidParams(`the params of ${method} are not JSON`);
  }
}
