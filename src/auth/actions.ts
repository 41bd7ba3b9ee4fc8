// Every action a caller can need, by id. firewalld's eight keep their ids, because administrators have polkit rules
// for them; ours cover what firewalld does not have.

const firewalldPrefix = 'org.fedoraproject.FirewallD1'
const derpanetPrefix = 'org.derpanet.Derpanet1'

/** Short word → polkit action id. `all` implies the other seven of firewalld's in the policy file, not here. */
export const actions = {
  all: `${firewalldPrefix}.all`,
  info: `${firewalldPrefix}.info`,
  config: `${firewalldPrefix}.config`,
  configInfo: `${firewalldPrefix}.config.info`,
  direct: `${firewalldPrefix}.direct`,
  directInfo: `${firewalldPrefix}.direct.info`,
  policies: `${firewalldPrefix}.policies`,
  policiesInfo: `${firewalldPrefix}.policies.info`,
  derpanetInfo: `${derpanetPrefix}.info`,
  derpanetConfig: `${derpanetPrefix}.config`,
} as const

export type ActionId = (typeof actions)[keyof typeof actions]
