internal import Logging
internal import NetmapClient
internal import NetmapCore

// The answers for `netmap config`.

extension Server {
  /// Starts a request about tunables.
  ///
  /// Every trusted user may read them. A new value changes what other users get, so only root and the user who runs
  /// the daemon may set one.
  func tune(_ message: Message, from client: Client, _ reply: PeerSocket) {
    decide(client, reply) { [control, log] (ticket) throws(NetmapError) in
      var body = message.body
      let request = try body.takeTunableRequest()
      if case .set(let tunable, let value) = request {
        guard client.user == 0 || client.user == DaemonUser.own else {
          throw NetmapError(
            .notPermitted, "set", tunable.name,
            reason: "user \(client.user) is neither root nor the user who runs netmapd",
            remedy: "set it as root")
        }
        log.notice(
          "a process sets a tunable",
          metadata: [
            "name": "\(tunable.name)", "value": "\(value)", "user": "\(client.user)",
            "process": "\(client.process)",
          ])
      }
      control.put(
        .tune(ticket: ticket, request, by: "user \(client.user), process \(client.process)"))
    }
  }

  /// Answers a request about tunables.
  func hasTuned(_ ticket: UInt64, _ result: Result<[TunableState], NetmapError>) {
    do throws(NetmapError) {
      let states = try result.get()
      finish(ticket, (Message.bytes(.done) { $0.put(states) }, []))
    } catch {
      finish(ticket, error)
    }
  }
}

extension Engine {
  /// Lists the tunables, or sets one.
  ///
  /// - Parameters:
  ///   - request: The request, whose sender may make it.
  ///   - asker: Who sends it, for users.
  /// - Returns: All tunables, or the one that was set.
  /// - Throws: ``NetmapError`` as ``Engine/set(_:to:by:)``.
  func answer(
    _ request: TunableRequest, by asker: String
  ) throws(NetmapError) -> [TunableState] {
    switch request {
    case .list: tunables
    case .set(let tunable, let value): [try set(tunable, to: value, by: asker)]
    }
  }
}
