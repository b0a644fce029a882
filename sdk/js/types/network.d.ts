export interface Response {
  readonly status: number;
  /** Whether the status is 200 to 299. */
  readonly ok: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  text(): string;
  json(): any;
}

export interface RequestOptions {
  /** GET if not given. */
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  timeoutMs?: number;
}

/**
 * Sends a request to one of the hosts in the manifest. Permission `network`.
 * @throws {Refused} for any other host.
 */
export function fetch(url: string | URL, options?: RequestOptions): Response;

/** An answer whose body is read piece by piece. A loop over it closes it, also when it is left early. */
export interface Stream extends Iterable<Uint8Array> {
  readonly status: number;
  /** Whether the status is 200 to 299. */
  readonly ok: boolean;
  readonly headers: Readonly<Record<string, string>>;
  /** The next piece, waiting while nothing is there; `null` at the end. */
  read(): Uint8Array | null;
  /** Gives up the rest. */
  close(): void;
}

/**
 * As `fetch`, for what is too long for one message: the body is read piece by piece.
 * @throws {Refused} for any other host.
 */
export function open(url: string | URL, options?: RequestOptions): Stream;
