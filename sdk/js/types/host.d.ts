import type { Json } from './json.js';

/** Calls an embedder's own bridge: method `loyalty.points` needs permission `host.loyalty`. */
export function call<Result = any>(method: string, params?: Json): Result;
