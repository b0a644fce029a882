/** A file of the app's private folder. Permission `files`, as for everything here. */
export function read(path: string): Uint8Array;
export function readText(path: string): string;
export function write(path: string, contents: string | Uint8Array): void;
/** Deletes a file. Tells whether it was there. */
export function remove(path: string): boolean;
export function list(prefix?: string): string[];
