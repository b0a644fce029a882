/** What `on['timers.fired']` gets. */
export interface Fired {
  readonly id: string;
}

export interface Timer {
  id: string;
  /** Until it fires next. */
  leftMs: number;
  /** Between firings, if it repeats. */
  everyMs: number | undefined;
}

/**
 * Fires `timers.fired` once, after `milliseconds`; returns the timer's id. Takes the place of a timer with the same id.
 * Timers end with the instance, wait while it is hidden, and never fire while the app does something else. Needs no
 * permission.
 * @throws {Busy} when 32 timers are set.
 */
export function after(milliseconds: number, id?: string): string;
/** The same, again and again. At least 100 milliseconds. */
export function every(milliseconds: number, id?: string): string;
/** Stops a timer. Tells whether it was set. */
export function clear(id: string): boolean;
export function list(): Timer[];
