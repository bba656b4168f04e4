/** The folder that holds all files, or why they are not to be had. */
export function fetchTokenizers(): { folder?: string; reason?: string };
