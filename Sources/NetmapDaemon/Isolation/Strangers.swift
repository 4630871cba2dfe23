internal import Logging
internal import NetmapClient
internal import NetmapCore

// Users who get isolated ports: what they may open, and under which names.
//
// A name is what processes meet by. A stranger who could open any would read what another one sends to that name,
// or keep it from having its port. So names of strangers are their user's own: the engine knows their pipes
// and switches by other names, which no user can write. What they are to share with others root lists.

extension Server {
  /// Makes a request one that a stranger may make.
  ///
  /// - Parameters:
  ///   - request: What the stranger asked for.
  ///   - client: The stranger.
  ///   - namespace: The network namespace that it asked in.
  /// - Returns: What the worker opens for it, and where.
  /// - Throws: ``NetmapError`` `EPERM`.
  func restrict(
    _ request: inout RegisterRequest, of client: Client, in namespace: NamespaceFile?
  ) throws(NetmapError) -> (inside: RegisterRequest, namespace: NamespaceFile?) {
    let name = request.name
    func refusal(_ reason: String, _ remedy: String) -> NetmapError {
      NetmapError(.notPermitted, "open", name.rawValue, reason: reason, remedy: remedy)
    }
    for (flag, what) in [
      (BindingFlags.exclusive, "exclusive use"), (.backpressure, "back-pressure"),
    ] where request.flags.contains(flag) {
      throw refusal("\(what) is for users who are trusted", "open it without that")
    }
    request.flags.insert(.isolated)
    request.extraBuffers = min(request.extraBuffers, Quota.extraBuffers)
    var inside = request
    let isShared = settings.sharedPorts.contains { $0.matches(name) }
    if name.pipe != nil || name.isVale {
      if !isShared { inside.name = try name.own(to: client.user) }
      return (inside, nil)
    }
    if let namespace, namespace.owner == client.user {
      inside.flags.insert(.interfaceOnly)
      return (inside, namespace)
    }
    guard isShared, namespace == nil else {
      throw refusal(
        "user \(client.user) may open interfaces of network namespaces that it owns, and no others",
        "ask root to run netmapd with --allow-isolated '\(name.rawValue)'")
    }
    return (inside, nil)
  }
}

extension PortName {
  /// The name that a user's pipe or switch port of this name has in the engine.
  ///
  /// The innermost name before a bracket or a colon is replaced by one as long as the longest that an
  /// interface or a switch can have: the user's number, and a digest of the name.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the whole is too long.
  func own(to user: UInt32) throws(NetmapError) -> PortName {
    let end =
      bytes.firstIndex {
        $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}")
          || isVale && $0 == UInt8(ascii: ":")
      } ?? bytes.count
    // FNV-1a. Two names of a user's own that collide are that user's affair.
    var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes[..<end] { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01b3 }
    // A slash is in no name of an interface, and ends the name in what users write. Names of switches have
    // letters, digits and '_' only.
    let start = isVale ? Array("vale".utf8) : [UInt8(ascii: "/")]
    let base =
      start + Self.digits(UInt64(user), count: 6)
      + Self.digits(digest, count: 15 - 6 - start.count)
    return try PortName(bytes: base + bytes[end...])
  }

  private static func digits(_ number: UInt64, count: Int) -> [UInt8] {
    let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
    var (rest, result) = (number, [UInt8]())
    for _ in 0..<count {
      result.append(alphabet[Int(rest % 62)])
      rest /= 62
    }
    return result.reversed()
  }
}
