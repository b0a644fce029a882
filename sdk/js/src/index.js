export { defineApp } from './app.js';
export {
  RpcError,
  InternalError,
  InvalidParams,
  MethodNotFound,
  PermissionDenied,
  Unavailable,
  QuotaExceeded,
  TooLarge,
  Busy,
  Cancelled,
  TimedOut,
  Refused,
  Unreachable,
  Conflict,
} from './errors.js';
export * as cart from './cart.js';
export * as clipboard from './clipboard.js';
export * as clock from './clock.js';
export * as events from './events.js';
export * as files from './files.js';
export * as host from './host.js';
export * as location from './location.js';
export * as log from './log.js';
export * as network from './network.js';
export * as notifications from './notifications.js';
export * as payments from './payments.js';
export * as random from './random.js';
export * as storage from './storage.js';
export * as timers from './timers.js';
export * as user from './user.js';
