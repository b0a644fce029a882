/** Shows a notification; returns its id. Permission `notifications`. */
export function show(title: string, body: string): string;
