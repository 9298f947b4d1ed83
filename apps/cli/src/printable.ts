// Text of instances, hosts and images as a terminal may have it.

/** Every control character (C0, DEL and C1) but tab and newline. */
const controls = /(?![\t\n])\p{Cc}/gu;

/**
 * Text without what moves a terminal's cursor, changes its title or colours, or hides what was printed before (ECMA-48):
 * whoever names a thing decides about no other line. Lines and tabs stay.
 */
export const printable = (text: string): string =>
  text.replace(controls, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`);

/** The same in one line, for a cell of a table. */
export const printableLine = (text: string): string => printable(text.replaceAll(/[\t\n]/g, " "));
