// The same as answer.py for SDKs of Node. Usage: node answer.mjs FOLDER PROGRAM; the program's
// default export takes a `require` that finds what is installed in FOLDER, and returns functions.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

console.log = console.error; // an SDK that prints must not disturb
const [folder, path] = process.argv.slice(2);
const { default: load } = await import(pathToFileURL(path));
const program = load(createRequire(`${folder}/`));

async function answer(line) {
  const asked = JSON.parse(line);
  try {
    return { result: (await program[asked.call](asked.with)) ?? null };
  } catch (error) {
    return { error: { type: error.name, text: error.message } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
