import type { Json } from './json.js';

/**
 * An error that crosses the bridge: what a handler throws is what its caller gets, and what a wrapper throws is what
 * the host answered. An app's own codes lie outside -32768 to -32000.
 */
export class RpcError extends Error {
  constructor(code: number, message: string, data?: Json);
  readonly code: number;
  readonly data: Json | undefined;
}

/** Why a permission was denied. A newer host may know further reasons. */
export type DeniedReason =
  | 'not_declared'
  | 'not_granted'
  | 'denied'
  | 'blocked'
  | 'revoked'
  | 'not_in_use'
  | 'policy'
  | 'killed'
  | 'stale'
  | (string & {});

/** The app may not do this (-32001). Nothing happened. */
export class PermissionDenied extends RpcError {
  constructor(message: string, data?: { permission: string; reason: DeniedReason });
  /** The permission, as the manifest names it. */
  readonly permission: string;
  readonly reason: DeniedReason;
}

/** No room left (-32003). Nothing was written. */
export class QuotaExceeded extends RpcError {
  constructor(message: string, data?: { used_bytes: number; quota_bytes: number });
  readonly usedBytes: number;
  readonly quotaBytes: number;
}

/** The app or the host broke (-32603). */
export class InternalError extends RpcError {
  constructor(message: string, data?: Json);
}

/** The params do not fit (-32602). */
export class InvalidParams extends RpcError {
  constructor(message: string, data?: Json);
}

/** There is no such method (-32601). */
export class MethodNotFound extends RpcError {
  constructor(message: string, data?: Json);
}

/** This host has no such bridge (-32002). */
export class Unavailable extends RpcError {
  constructor(message: string, data?: Json);
}

/** One value is larger than the bridge takes (-32004). */
export class TooLarge extends RpcError {
  constructor(message: string, data?: Json);
}

/** Too many calls for now; later will do (-32005). */
export class Busy extends RpcError {
  constructor(message: string, data?: Json);
}

/** The call was cancelled (-32006). */
export class Cancelled extends RpcError {
  constructor(message: string, data?: Json);
}

/** It took too long (-32007). */
export class TimedOut extends RpcError {
  constructor(message: string, data?: Json);
}

/** The host refused this very request, for example a URL outside the manifest's list (-32008). */
export class Refused extends RpcError {
  constructor(message: string, data?: Json);
}

/** The other side of a network request does not answer, or not as it should (-32009). The user may be offline. */
export class Unreachable extends RpcError {
  constructor(message: string, data?: Json);
}

/** Stored data is not as a transaction supposes (-32010). Nothing was changed. */
export class Conflict extends RpcError {
  constructor(message: string, data?: { key: string });
  readonly key: string;
}
