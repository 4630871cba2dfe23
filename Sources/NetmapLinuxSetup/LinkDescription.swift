internal import CLinux
package import NetmapCore

/// What the kernel says about an interface: its answer to `RTM_GETLINK`, rtnetlink(7).
package struct LinkDescription {
  /// `IFF_UP`, ...
  package let flags: UInt32
  private let attributes: ArraySlice<UInt8>

  /// Asks about an interface in the calling thread's network namespace.
  ///
  /// - Parameters:
  ///   - index: The interface.
  ///   - name: Its name, for error messages.
  /// - Throws: ``NetmapError`` with the kernel's `errno`.
  package init(of index: UInt32, named name: String) throws(NetmapError) {
    try self.init(
      reply: try NetlinkMessage(RTM_GETLINK, interface: index).exchange(name), named: name)
  }

  /// Reads the kernel's answer.
  ///
  /// - Throws: ``NetmapError`` `EIO` for an answer that is too short.
  init(reply: [UInt8], named name: String) throws(NetmapError) {
    // struct nlmsghdr and struct ifinfomsg, of 16 bytes each, come before the attributes.
    guard reply.count >= 32 else {
      throw NetmapError(
        .inputOutput, "netlink", name, reason: "the kernel's answer has \(reply.count) bytes only")
    }
    flags = reply[24...].number()
    attributes = reply[32...]
  }

  /// The value of an attribute, `IFLA_LINK` for example; nil when the kernel did not send it.
  package func value(of type: Int) -> ArraySlice<UInt8>? { Self.value(of: type, in: attributes) }

  /// The kind of interface as ip-link(8) calls it, such as `veth`; nil for an interface without one.
  package var kind: String? {
    value(of: IFLA_LINKINFO).flatMap { Self.value(of: IFLA_INFO_KIND, in: $0) }.map {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  /// The value of an attribute among others, such as those in ``value(of:)`` of an attribute that contains more.
  static func value(
    of wanted: Int, in attributes: ArraySlice<UInt8>
  ) -> ArraySlice<UInt8>? {
    var rest = attributes
    while rest.count >= 4 {
      let length = Int(rest.number() as UInt16)
      let type = rest.dropFirst(2).number() as UInt16
      guard (4...rest.count).contains(length) else { return nil }
      // The two highest bits of a type are flags.
      if Int(type & 0x3fff) == wanted { return rest.prefix(length).dropFirst(4) }
      rest = rest.dropFirst((length + 3) & ~3)
    }
    return nil
  }
}

extension ArraySlice<UInt8> {
  /// The number in the first bytes, in this machine's order; 0 when there are too few bytes.
  package func number<T: FixedWidthInteger & BitwiseCopyable>() -> T {
    unsafe withUnsafeBytes { bytes in
      bytes.count < MemoryLayout<T>.size ? 0 : unsafe bytes.loadUnaligned(as: T.self)
    }
  }
}
