/**
 * An error that crosses the bridge as a JSON-RPC error object: what a handler throws is what its caller gets, and what
 * a wrapper throws is what the host answered.
 */
export class RpcError extends Error {
  constructor(code, message, data) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.data = data;
  }
}

/** The app or the host broke (-32603). */
export class InternalError extends RpcError {
  constructor(message, data) {
    super(-32603, message, data);
  }
}

/** There is no such method (-32601). */
export class MethodNotFound extends RpcError {
  constructor(message, data) {
    super(-32601, message, data);
  }
}

/** The params do not fit (-32602). */
export class InvalidParams extends RpcError {
  constructor(message, data) {
    super(-32602, message, data);
  }
}

/** The app may not do this (-32001). Nothing happened. */
export class PermissionDenied extends RpcError {
  constructor(message, data) {
    super(-32001, message, data);
    this.permission = data?.permission;
    this.reason = data?.reason;
  }
}

/** This host has no such bridge (-32002). */
export class Unavailable extends RpcError {
  constructor(message, data) {
    super(-32002, message, data);
  }
}

/** No room left (-32003). Nothing was written. */
export class QuotaExceeded extends RpcError {
  constructor(message, data) {
    super(-32003, message, data);
    this.usedBytes = data?.used_bytes;
    this.quotaBytes = data?.quota_bytes;
  }
}

/** One value is larger than the bridge takes (-32004). */
export class TooLarge extends RpcError {
  constructor(message, data) {
    super(-32004, message, data);
  }
}

/** Too many calls for now; later will do (-32005). */
export class Busy extends RpcError {
  constructor(message, data) {
    super(-32005, message, data);
  }
}

/** The call was cancelled (-32006). */
export class Cancelled extends RpcError {
  constructor(message, data) {
    super(-32006, message, data);
  }
}

/** It took too long (-32007). */
export class TimedOut extends RpcError {
  constructor(message, data) {
    super(-32007, message, data);
  }
}

/** The host refused this very request, for example a URL outside the manifest's list (-32008). */
export class Refused extends RpcError {
  constructor(message, data) {
    super(-32008, message, data);
  }
}

/** The other side of a network request does not answer, or not as it should (-32009). The user may be offline. */
export class Unreachable extends RpcError {
  constructor(message, data) {
    super(-32009, message, data);
  }
}

/** Stored data is not as a transaction supposes (-32010). Nothing was changed. */
export class Conflict extends RpcError {
  constructor(message, data) {
    super(-32010, message, data);
    this.key = data?.key;
  }
}

const CLASSES = new Map([
  [-32601, MethodNotFound],
  [-32602, InvalidParams],
  [-32603, InternalError],
  [-32001, PermissionDenied],
  [-32002, Unavailable],
  [-32003, QuotaExceeded],
  [-32004, TooLarge],
  [-32005, Busy],
  [-32006, Cancelled],
  [-32007, TimedOut],
  [-32008, Refused],
  [-32009, Unreachable],
  [-32010, Conflict],
]);

/** The error class for what came over the bridge. `data` is JSON text, or nothing. */
export function fromWire({ code, message, data }) {
  const parsed = data === undefined ? undefined : JSON.parse(data);
  const Class = CLASSES.get(code);
  return Class ? new Class(message, parsed) : new RpcError(code, message, parsed);
}

/** What goes over the bridge for whatever a handler threw. */
export function toWire(thrown) {
  if (!(thrown instanceof RpcError)) {
    const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    return { code: -32603, message, data: undefined };
  }
  const { code, message, data } = thrown;
  return {
    code: Number.isInteger(code) ? code : -32603,
    message: String(message),
    data: data === undefined ? undefined : JSON.stringify(data),
  };
}
