internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// The rules by which a listener admits clients.
package enum Admission: Sendable {
  /// All users who can connect are trusted.
  case trusts
  /// Root and the daemon's own user are trusted.
  ///
  /// All other users are untrusted.
  case isolatesOthers
  /// All users are untrusted, including root: for containers.
  case isolates
}

/// The role of a client.
enum Role {
  /// The daemon itself, which opens the ports whose packets its worker carries.
  case own
  /// A member of the trust domain.
  case trusted
  /// A process of an untrusted user, who gets isolated ports.
  case untrusted
  /// A process that the daemon started to run a switch's module.
  ///
  /// From some moment on it runs the module's code, which is untrusted.
  case moduleHost
}

extension Role {
  /// Checks whether clients of this role may send messages of a kind at all.
  ///
  /// `docs/threat-model.md` repeats this table.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func check(_ kind: Message.Kind) throws(NetmapError) {
    let allowed: Set<Message.Kind> =
      switch self {
      case .own, .trusted:
        [
          .hello, .forget, .ring, .register, .unbind, .mapPort, .token, .portInfo, .poolsInfo,
          .list, .check, .dump, .control, .tunables,
        ]
      // Opens are isolated. Attaching and listing cover the user's own ports.
      case .untrusted: [.hello, .forget, .ring, .register, .unbind, .mapPort, .token, .list]
      // Opens one port, on its switch.
      case .moduleHost: [.hello, .forget, .ring, .register]
      }
    guard !allowed.contains(kind) else { return }
    switch self {
    case .moduleHost:
      throw NetmapError(
        .notPermitted, "ask", "netmapd",
        reason: "a process that runs a module may use only its own port",
        remedy: "send the request from another process")
    default:
      throw NetmapError(
        .notPermitted, "ask", "netmapd",
        reason: "this netmapd lets other users only open isolated ports",
        remedy: "send the request as root, or as the user who runs netmapd")
    }
  }
}

extension Server {
  /// The role of a process that says hello.
  func role(of sender: Sender, _ admission: Admission) -> Role {
    if sender.process == getpid() { return .own }
    // Before the user is considered: a module host begins as the daemon's own user.
    if hosts[sender.process] != nil { return .moduleHost }
    switch admission {
    case .trusts: return .trusted
    case .isolatesOthers:
      return sender.user == 0 || sender.user == DaemonUser.own ? .trusted : .untrusted
    case .isolates: return .untrusted
    }
  }

  /// The client that sent a request: the client that the request names, if process and user are the
  /// sender's.
  ///
  /// - Throws: ``NetmapError`` `EBADF` when there is no such client, or it is another process or
  ///   user.
  func client(_ rawTag: UInt64, from sender: Sender) throws(NetmapError) -> Client {
    guard let client = clients[Int(rawTag & 0xffff_ffff)], client.tag.rawValue == rawTag,
      client.process == sender.process, client.user == sender.user
    else {
      throw NetmapError(
        .badDescriptor, "ask", "netmapd",
        reason: "the process is not attached, or has changed its user since it attached",
        remedy: "connect again")
    }
    return client
  }
}
