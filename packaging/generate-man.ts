// Writes the pages of section 5 from the field tables (src/settings/manual.ts). Usage: generate-man.ts [packaging/man]
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { manualPages } from '../src/settings/manual.ts'

const folder = process.argv[2] ?? 'packaging/man'
mkdirSync(folder, { recursive: true })
for (const { file, text } of manualPages()) writeFileSync(join(folder, file), text)
