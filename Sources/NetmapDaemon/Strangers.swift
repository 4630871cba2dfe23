internal import NetmapCore

// Users whom `--isolate-others` lets in: what they may take from others, which is little.

/// The most that one of these users has at a time.
enum StrangerLimits {
  /// Open ports. Each has a region of its own, and makes the worker's turn longer.
  static let ports = 64
  /// Processes, or what they say are processes. There are 1024 for everybody.
  static let clients = 64
  /// Extra buffers of a port: more are not given.
  static let extraBuffers = 4096
}

extension Server {
  /// Makes a request one that such a user may make.
  ///
  /// - Throws: ``NetmapError`` `EMFILE` when it has as many ports open as it may.
  func restrict(_ request: inout RegisterRequest, of client: Client) throws(NetmapError) {
    let open = bindings.values.count { $0.isOpen && !$0.isHidden && $0.user == client.user }
    let asked = pending.values.count { request in
      guard let slot = request.token?.client.slot else { return false }
      return clients[slot]?.user == client.user
    }
    guard open + asked < StrangerLimits.ports else {
      throw NetmapError(
        .tooManyFiles, "open", request.name.rawValue,
        reason: "user \(client.user) has \(open) isolated ports open, which is the most",
        remedy: "close some, or ask to be let into the group that owns the socket")
    }
    request.flags.insert(.isolated)
    request.extraBuffers = min(request.extraBuffers, StrangerLimits.extraBuffers)
  }

  /// - Throws: ``NetmapError`` `EMFILE` when such a user has as many processes attached as it may.
  func admit(stranger user: UInt32) throws(NetmapError) {
    guard clients.values.count(where: { $0.isStranger && $0.user == user }) < StrangerLimits.clients
    else {
      throw NetmapError(
        .tooManyFiles, "connect", "netmapd",
        reason: "user \(user) has \(StrangerLimits.clients) processes attached, which is the most",
        remedy: "end some of them")
    }
  }
}
