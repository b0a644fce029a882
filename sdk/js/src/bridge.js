import { fromWire } from './errors.js';

/**
 * One request to the host. `call` is the bridge's function; it takes and returns JSON texts, and throws an error whose
 * `payload` is the host's error object.
 */
export function request(call, method, params = {}) {
  let answer;
  try {
    answer = call(method, JSON.stringify(params));
  } catch (error) {
    throw error?.payload ? fromWire(error.payload) : error;
  }
  return JSON.parse(answer);
}
