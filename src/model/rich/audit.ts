// `audit`: a record for auditd beside an action.
import { formatLimit } from './limit.ts'
import type { RichAudit, RichRule } from './types.ts'
import { refuse } from './types.ts'

/** Throws INVALID_AUDIT_TYPE unless the rule accepts, drops or rejects. */
export function checkAudit(rule: RichRule): void {
  if (rule.audit === null) return
  if (rule.action === null || rule.action.kind === 'mark') {
    refuse('INVALID_AUDIT_TYPE', `audit needs accept, reject or drop, not ${rule.action?.kind ?? 'nothing'}`)
  }
}

/** With a leading blank; "" for none. */
export function formatAudit(audit: RichAudit | null): string {
  return audit === null ? '' : ` audit${formatLimit(audit.limit)}`
}
