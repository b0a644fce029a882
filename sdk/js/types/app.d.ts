import type { Message } from './events.js';
import type { Changed } from './storage.js';
import type { Fired } from './timers.js';

/** What a handler is told besides its params. */
export interface Context {
  /** The method or notification that arrived. */
  readonly method: string;
  /** For whom the app was launched; undefined before `lifecycle.launched`. */
  readonly user: string | undefined;
}

/** Params of `lifecycle.launched`. */
export interface Launched {
  readonly user: string;
  readonly reason: string;
}

/** The notifications of this version. A newer host may send others; an app without a handler ignores them. */
export interface Notifications {
  'lifecycle.launched': Launched;
  'lifecycle.shown': Record<string, never>;
  'lifecycle.hidden': Record<string, never>;
  'lifecycle.unloaded': Record<string, never>;
  'lifecycle.error': { readonly message: string };
  'events.message': Message;
  'storage.changed': Changed;
  'timers.fired': Fired;
}

// Params come from outside: `any` lets a handler declare the shape that it checks for.
export type Handler<Params = any> = (params: Params, context: Context) => unknown;

export interface AppDefinition {
  /** Answers requests. What a handler returns (or resolves to) is the result; what it throws is the error. */
  methods?: Record<string, Handler>;
  /** Takes notifications: `lifecycle.…`, `events.message`, `storage.changed`, `timers.fired`, `ui.…`. */
  on?: { [Name in keyof Notifications]?: Handler<Notifications[Name]> } & { [name: `ui.${string}`]: Handler };
}

/** The interface that a Mini App exports as `app`. */
export interface App {
  handle(method: string, params: string): Promise<string>;
}

/** Makes a Mini App of its handlers. */
export function defineApp(definition: AppDefinition): App;
