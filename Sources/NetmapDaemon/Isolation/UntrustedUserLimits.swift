internal import Logging
internal import NetmapClient
internal import NetmapCore

// What untrusted users may open, and under which names. They get isolated ports.
//
// Processes meet by the names of ports. An untrusted user who could open any name would read
// packets that another user sends to it, or keep that user from opening the port. So each untrusted
// user has a name space of its own: in the engine, its pipes and switches have other names. No user
// can write such a name of a pipe, or writes one of a switch by chance. Root can list names that
// untrusted users share with all other users.

extension Server {
  /// Restricts a request to what an untrusted user may open.
  ///
  /// - Parameters:
  ///   - request: The client's request; becomes the request for the client's end.
  ///   - client: The untrusted client.
  ///   - namespace: The network namespace in which the client asks.
  /// - Returns: The port that the worker opens for the client, and the network namespace to open it
  ///   in.
  /// - Throws: ``NetmapError`` `EPERM`.
  func restrict(
    _ request: inout RegisterRequest, of client: Client, in namespace: NamespaceFile?
  ) throws(NetmapError) -> (inside: RegisterRequest, namespace: NamespaceFile?) {
    let name = request.name
    func refusal(_ reason: String, _ remedy: String) -> NetmapError {
      NetmapError(.notPermitted, "open", name.rawValue, reason: reason, remedy: remedy)
    }
    for (isAsked, what) in [
      (request.flags.contains(.exclusive), "exclusive rings"),
      (request.extensions.contains(.backpressure), "back-pressure"),
    ] where isAsked {
      throw refusal("only trusted users may use \(what)", "open the port without \(what)")
    }
    request.extensions.insert(.isolated)
    request.extraBuffers = min(request.extraBuffers, Quota.extraBuffers)
    var inside = request
    let isShared = settings.sharedPorts.contains { $0.matches(name) }
    if name.pipe != nil || name.isVale {
      if !isShared { inside.name = try name.own(to: client.user) }
      return (inside, nil)
    }
    if let namespace, namespace.owner == client.user {
      inside.extensions.insert(.interfaceOnly)
      return (inside, namespace)
    }
    guard isShared, namespace == nil else {
      throw refusal(
        "user \(client.user) may open only interfaces of network namespaces that this user owns",
        "ask root to run netmapd with --allow-isolated '\(name.rawValue)'")
    }
    return (inside, nil)
  }
}

extension PortName {
  /// The name that an untrusted user's pipe or switch port has in the engine.
  ///
  /// Replaces the part before the first brace, or before a switch port's colon, by the user's
  /// number and a digest of that part. The result has 15 bytes, as long as the longest name of an
  /// interface or a switch.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the whole name is too long.
  func own(to user: UInt32) throws(NetmapError) -> PortName {
    let end =
      bytes.firstIndex {
        $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}")
          || isVale && $0 == UInt8(ascii: ":")
      } ?? bytes.count
    // FNV-1a. If two names of one user collide, only that user is affected.
    var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes[..<end] { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01b3 }
    // No interface name contains a slash, and in a name that a user writes a slash ends the name.
    // Names of switches consist of letters, digits and '_'.
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
