internal import NetmapClient
internal import NetmapCore

// What `netmap ports --check` and the tests of faults ask.

extension Server {
  /// Has the engine look through its memory.
  func check(for client: Client, _ reply: PeerSocket) {
    decide(client, reply) { [control] (ticket) throws(NetmapError) in
      control.put(.check(ticket: ticket))
    }
  }

  /// What the engine's memory looks like, and whether the daemon's own books agree with it.
  func hasChecked(_ ticket: UInt64, _ report: CheckReport) {
    var check = DaemonCheck()
    check.report = report
    check.clients = clients.values.count { !$0.hasHungUp }
    // The worker's ends of isolated ports have no token, nor have interfaces on switches.
    let hidden = bindings.values.count {
      $0.isOpen && ($0.isHidden && $0.tokenKey == 0 || $0.attachedAs != nil)
    }
    check.bindings = bindings.values.count { $0.isOpen } - hidden
    check.kept = bindings.count - check.bindings - hidden
    check.locksReleased = locksReleased
    if tokens.count != check.bindings {
      check.report.findings.append(
        "netmapd: \(tokens.count) tokens are open for \(check.bindings) open ports")
    }
    for (key, id) in tokens where bindings[id]?.tokenKey != key {
      check.report.findings.append("netmapd: a token is open, and its binding \(id.number) is not")
    }
    for binding in bindings.values {
      let strangers = binding.viewers.count { clients[$0.slot]?.tag != $0 && ending[$0] == nil }
      if strangers > 0 {
        check.report.findings.append(
          "netmapd: \(binding.registration.name) is kept for \(strangers) clients that have gone")
      }
    }
    finish(ticket, (Message.bytes(.done) { $0.put(check) }, []))
  }
}
