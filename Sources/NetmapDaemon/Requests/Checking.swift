internal import NetmapClient
internal import NetmapCore

// The answers for `netmap ports --check` and the fault tests.

extension Server {
  /// Starts a check of the engine's memory.
  func check(for client: Client, _ reply: PeerSocket) {
    decide(client, reply) { [control] (ticket) throws(NetmapError) in
      control.put(.check(ticket: ticket))
    }
  }

  /// Adds the server's own records to the engine's report, checks that the two agree, and answers
  /// the request.
  func hasChecked(_ ticket: UInt64, _ report: CheckReport) {
    var check = DaemonCheck()
    check.report = report
    check.clients = clients.values.count { !$0.hasHungUp }
    // The worker's ends of isolated ports and interfaces on switches have no token.
    let hidden = bindings.values.count {
      $0.isOpen && ($0.isHidden && $0.tokenKey == 0 || $0.attachedAs != nil)
    }
    check.bindings = bindings.values.count { $0.isOpen } - hidden
    check.kept = bindings.count - check.bindings - hidden
    check.locksReleased = locksReleased
    check.ignoredDatagrams = ignoredDatagrams
    if tokens.count != check.bindings {
      check.report.findings.append(
        "netmapd: \(tokens.count) tokens are open for \(check.bindings) open ports")
    }
    for (key, id) in tokens where bindings[id]?.tokenKey != key {
      check.report.findings.append("netmapd: a token is open, but its binding \(id.number) is not")
    }
    for binding in bindings.values {
      let untrusted = binding.viewers.count { clients[$0.slot]?.tag != $0 && ending[$0] == nil }
      if untrusted > 0 {
        check.report.findings.append(
          "netmapd: \(binding.registration.name) is kept for \(untrusted) clients that have ended")
      }
    }
    finish(ticket, (Message.bytes(.done) { $0.put(check) }, []))
  }
}
