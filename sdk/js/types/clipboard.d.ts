/** The text on the clipboard. Permission `clipboard`, as for writing it. */
export function read(): string;
export function write(text: string): void;
