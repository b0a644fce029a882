import type { Json } from './json.js';

/**
 * What `on['events.message']` gets. A message is taken when the handler returns; one that throws gets it again after a
 * while, a few times. The id is the same for a message that arrives twice.
 */
export interface Message<Data = any> {
  readonly topic: string;
  readonly data: Data;
  readonly id: string;
  /** It may have arrived before: the handler threw then, or an earlier instance of the app ended over it. */
  readonly redelivered: boolean;
}

/**
 * Publishes `data`; returns the message's id. Permission `events`, as for everything here.
 * @throws {Busy} while the host has not read the earlier ones.
 */
export function publish(topic: string, data?: Json): string;
/** From now on messages of `topic` arrive as `events.message`. */
export function subscribe(topic: string): void;
/** From now on they do not. */
export function unsubscribe(topic: string): void;
