// The edges of the way back for a daemon in a test: real files in two folders, no guard, connections as the test says.
import { join } from 'node:path'
import { readTree, writeTree } from '../../src/config/tree-files.ts'
import type { WayBackEdges } from '../../src/daemon/way-back.ts'
import type { Connection } from '../../src/model/connection.ts'
import { History } from '../../src/state/history.ts'
import { Snapshots, snapshotLimitBytes } from '../../src/state/snapshots.ts'
import { RefusedFile, WayBackFile, type PendingChange } from '../../src/state/way-back.ts'

/** What a test may set and read. */
export interface FakeEdges {
  connections: readonly Connection[]
  /** Why no guard comes; null = one comes. */
  guardFails: string | null
  armed: number
  /** Called when a guard comes, with the note that it finds. */
  onArm: (note: PendingChange | null) => void
}

export function fakeEdges(): FakeEdges {
  return { connections: [], guardFails: null, armed: 0, onArm() {} }
}

/** `state` must exist. */
export function wayBackEdges(folders: { readonly etc: string; readonly state: string; readonly run: string }, bootId: string, fake = fakeEdges()): WayBackEdges {
  const file = new WayBackFile(folders.run, bootId)
  return {
    file, refused: new RefusedFile(folders.state), history: new History(folders.state),
    snapshots: new Snapshots(folders.state), self: { pid: 1, started: '1' },
    async arm() {
      if (fake.guardFails !== null) throw new Error(fake.guardFails)
      fake.armed += 1
      fake.onArm(file.read())
    },
    incoming: async () => fake.connections,
    locate: async (connections) => connections.map((one) => ({ ...one, interface: 'eth0' })),
    readFiles: () => readTree(folders.etc, snapshotLimitBytes),
    writeFiles: (files) => writeTree(folders.etc, files),
    unitOf: () => null,
  }
}
