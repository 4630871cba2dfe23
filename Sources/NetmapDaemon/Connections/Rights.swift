internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// By what rules those who connect to a listener are admitted.
package enum Admission: Sendable {
  /// Whoever can connect is trusted.
  case trusts
  /// Root and the daemon's own user are trusted, all others are strangers.
  case isolatesOthers
  /// Everybody is a stranger, root included: for containers.
  case isolates
}

/// What a client is to the daemon.
enum Role {
  /// The daemon itself, which opens what it carries packets of.
  case own
  /// A member of the trust domain.
  case trusted
  /// A user who gets isolated ports.
  case stranger
  /// A process that the daemon started to run a switch's module: that module's code, from some moment on.
  case moduleHost
}

extension Role {
  /// - Throws: ``NetmapError`` `EPERM` for what a client of this kind may not ask for at all.
  ///   `docs/threat-model.md` repeats this table.
  func check(_ kind: Message.Kind) throws(NetmapError) {
    let allowed: Set<Message.Kind> =
      switch self {
      case .own, .trusted:
        [.hello, .forget, .ring, .register, .attach, .portInfo, .list, .check, .control]
      // Ports are opened as isolated ones; attached and listed are its own.
      case .stranger: [.hello, .forget, .ring, .register, .attach, .list]
      // One port, on its switch.
      case .moduleHost: [.hello, .forget, .ring, .register]
      }
    guard !allowed.contains(kind) else { return }
    switch self {
    case .moduleHost:
      throw NetmapError(
        .notPermitted, "ask", "netmapd",
        reason: "a process that runs a module may use its port only",
        remedy: "do it in another process")
    default:
      throw NetmapError(
        .notPermitted, "ask", "netmapd",
        reason: "this netmapd lets other users open isolated ports, and no more",
        remedy: "ask as root, or as the user that runs netmapd")
    }
  }
}

extension Server {
  /// What a process is that says hello.
  func role(of sender: Sender, _ admission: Admission) -> Role {
    if sender.process == getpid() { return .own }
    // Whatever its user is: it begins as the daemon's own.
    if hosts[sender.process] != nil { return .moduleHost }
    switch admission {
    case .trusts: return .trusted
    case .isolatesOthers:
      return sender.user == 0 || sender.user == DaemonUser.own ? .trusted : .stranger
    case .isolates: return .stranger
    }
  }

  /// The client that sent a request: the one that the request names, if the kernel agrees.
  ///
  /// - Throws: ``NetmapError`` `EBADF` when it is none, or of another process or user.
  func client(_ rawTag: UInt64, from sender: Sender) throws(NetmapError) -> Client {
    guard let client = clients[Int(rawTag & 0xffff_ffff)], client.tag.rawValue == rawTag,
      client.process == sender.process, client.user == sender.user
    else {
      throw NetmapError(
        .badDescriptor, "ask", "netmapd",
        reason: "the process is not attached, or was when it had another user",
        remedy: "connect again")
    }
    return client
  }
}
