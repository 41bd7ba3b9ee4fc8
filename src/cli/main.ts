// derpanetctl: one verb a file. Offline verbs read the files; the others ask the daemon over the bus. Exit statuses are here.
import { CommanderError } from 'commander'
import { reportError } from './output.ts'
import { createProgram } from './program.ts'

const usageStatus = 2

async function main(): Promise<void> {
  const json = process.argv.includes('--json')
  try {
    await createProgram((status) => { process.exitCode = status }).parseAsync(process.argv)
  } catch (error) {
    // Help and version end like this too, with exit code 0; commander has printed what there was to print.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : usageStatus
    else process.exitCode = reportError(error, json)
  }
}

// `derpanetctl plan | head` closes our output early; that is no mistake.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
void main()
