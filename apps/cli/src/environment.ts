/** The user's environment: which API to use, where its context lies, what `--env NAME` passes on. */
export const processEnvironment = (): Readonly<Record<string, string | undefined>> => process.env;
