import type { Json } from './json.js';

/** What `on['events.message']` gets. The id is the same for a message that arrives twice. */
export interface Message<Data = any> {
  readonly topic: string;
  readonly data: Data;
  readonly id: string;
}

/** Publishes `data`; returns the message's id. Permission `events`, as for everything here. */
export function publish(topic: string, data?: Json): string;
/** From now on messages of `topic` arrive as `events.message`. */
export function subscribe(topic: string): void;
/** From now on they do not. */
export function unsubscribe(topic: string): void;
