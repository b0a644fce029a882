/** A file of the app's private folder, whole. Permission `files`, as for everything here. */
export function read(path: string): Uint8Array;
/** A part of it: from `offset` on as many bytes as the host gives at once, and at most `length`. */
export function readPart(path: string, offset?: number, length?: number): { bytes: Uint8Array; more: boolean };
export function readText(path: string): string;
/**
 * Writes a file, whole or not at all. Names are those of files in a package.
 * @throws {Refused} when there is a file whose name differs in case only, or is a folder here and a file there.
 * @throws {QuotaExceeded} when there is no room; nothing is written then.
 */
export function write(path: string, contents: string | Uint8Array): void;
/** Writes behind what the file holds already. */
export function append(path: string, contents: string | Uint8Array): void;
/** Deletes a file. Tells whether it was there. */
export function remove(path: string): boolean;
export function list(prefix?: string): string[];
export function stat(path: string): { size: number; modifiedMs: number | undefined } | undefined;
export function usage(): { usedBytes: number; quotaBytes: number; files: number; maxFiles: number };
