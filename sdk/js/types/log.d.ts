export type Level = 'debug' | 'info' | 'warn' | 'error';
/** Writes a line to the app's log. Needs no permission. `console.log` ends here as well. */
export function write(level: Level, message: unknown): void;
export function debug(message: unknown): void;
export function info(message: unknown): void;
export function warn(message: unknown): void;
export function error(message: unknown): void;
