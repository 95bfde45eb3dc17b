// node built/use.js NAME URL TOKEN: the status that the job of the named client has ended with.

declare const process: { argv: string[] };

const [, , name, url, token] = process.argv as [string, string, string, string, string];
const { use } = (await import(`./use-${name}.js`)) as { use(url: string, token: string): Promise<string> };
console.log(await use(url, token));
export {};
