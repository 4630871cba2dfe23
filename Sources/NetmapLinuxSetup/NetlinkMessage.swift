internal import CLinux
internal import Glibc
package import NetmapCore

/// A request to rtnetlink(7): a header, followed by attributes, which can be nested.
package struct NetlinkMessage {
  private var bytes: [UInt8] = []

  /// - Parameters:
  ///   - type: `RTM_NEWLINK`, ...
  ///   - flags: Flags in addition to `NLM_F_REQUEST` and `NLM_F_ACK`.
  ///   - interface: The interface's index, or 0 for a new interface.
  ///   - interfaceFlags: The flags to set, such as `IFF_UP`; others stay unchanged.
  package init(
    _ type: Int, flags: Int32 = 0, interface: UInt32 = 0, interfaceFlags: UInt32 = 0
  ) {
    var header = nlmsghdr()
    header.nlmsg_type = UInt16(type)
    header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_ACK | flags)
    append(header)
    appendInterface(interface, flags: interfaceFlags)
  }

  /// A request that is not about a link.
  ///
  /// - Parameters:
  ///   - type: `RTM_GETNSID`, ...
  ///   - flags: Flags in addition to `NLM_F_REQUEST`.
  ///   - family: The structure that the type asks for after the header.
  init<T: BitwiseCopyable>(_ type: Int, flags: Int32, _ family: T) {
    var header = nlmsghdr()
    header.nlmsg_type = UInt16(type)
    header.nlmsg_flags = UInt16(NLM_F_REQUEST | flags)
    append(header)
    append(family)
  }

  private mutating func append<T: BitwiseCopyable>(_ value: T) {
    unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
    align()
  }

  /// Adds a `struct ifinfomsg`.
  package mutating func appendInterface(_ index: UInt32 = 0, flags: UInt32 = 0) {
    var information = ifinfomsg()
    information.ifi_index = Int32(bitPattern: index)
    information.ifi_flags = flags
    information.ifi_change = flags
    append(information)
  }

  /// Adds an attribute that contains the attributes that `fill` adds.
  package mutating func nest(_ type: Int, _ fill: (inout NetlinkMessage) -> Void) {
    let start = bytes.count
    append(UInt32(0))
    fill(&self)
    let length = UInt16(bytes.count - start)
    set(UInt32(length) | UInt32(type) << 16, at: start)
  }

  package mutating func attribute<T: BitwiseCopyable>(_ type: Int, _ value: T) {
    append(UInt32(4 + MemoryLayout<T>.size) | UInt32(type) << 16)
    append(value)
  }

  package mutating func attribute(_ type: Int, _ text: String) {
    append(UInt32(4 + text.utf8.count + 1) | UInt32(type) << 16)
    bytes += Array(text.utf8) + [0]
    align()
  }

  private mutating func align() {
    while bytes.count % 4 != 0 { bytes.append(0) }
  }

  private mutating func set(_ value: UInt32, at offset: Int) {
    unsafe bytes.withUnsafeMutableBytes {
      unsafe $0.storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
    }
  }

  /// Sends the request from the calling thread's namespace and waits for the answer.
  ///
  /// - Parameter subject: The interface, for error messages.
  /// - Returns: The kernel's messages before its acknowledgement; empty for most requests.
  /// - Throws: ``NetmapError`` with the kernel's `errno`.
  package consuming func exchange(_ subject: String) throws(NetmapError) -> [UInt8] {
    let socket = Glibc.socket(
      AF_NETLINK, CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue), NETLINK_ROUTE)
    guard socket >= 0 else { throw systemError("socket", "netlink") }
    defer { close(socket) }
    return try exchange(subject, on: socket)
  }

  /// Sends the request on a socket, to the network namespace in which the socket was made, and waits for the answer.
  ///
  /// - Parameters:
  ///   - subject: The interface, for error messages.
  ///   - socket: A netlink socket that blocks, receives no notifications, and is used by one thread at a time.
  /// - Returns: The kernel's messages before its acknowledgement, or before the end of a list.
  /// - Throws: ``NetmapError`` with the kernel's `errno`.
  consuming func exchange(_ subject: String, on socket: CInt) throws(NetmapError) -> [UInt8] {
    set(UInt32(bytes.count), at: 0)
    guard unsafe send(socket, bytes, bytes.count, 0) == bytes.count else {
      throw systemError("send", "netlink")
    }
    var result: [UInt8] = []
    while true {
      var buffer = [UInt8](repeating: 0, count: 32 << 10)
      let count = unsafe recv(socket, &buffer, buffer.count, 0)
      guard count >= 20 else { throw systemError("recv", "netlink") }
      guard let code = Self.acknowledgement(in: buffer[..<count]) else {
        result += buffer[..<count]
        if Self.endsList(buffer[..<count]) { return result }
        continue
      }
      guard code == 0 else {
        throw NetmapError(
          .init(rawValue: code), "netlink", subject,
          reason: unsafe String(cString: strerror(code)),
          remedy: code == EPERM ? "run as root, or with the capability CAP_NET_ADMIN" : "")
      }
      return result
    }
  }

  /// Whether a datagram of the kernel ends the list that a request with `NLM_F_DUMP` asked for.
  static func endsList(_ answer: ArraySlice<UInt8>) -> Bool {
    var rest = answer
    while rest.count >= 16 {
      let length = Int(rest.number() as UInt32)
      if Int32(rest.dropFirst(4).number() as UInt16) == NLMSG_DONE { return true }
      guard length >= 16 else { return false }
      rest = rest.dropFirst((length + 3) & ~3)
    }
    return false
  }

  /// What the kernel says about a request: 0 if it has carried it out, else the `errno`.
  ///
  /// - Parameter answer: A datagram of the kernel.
  /// - Returns: Nil for a datagram with other messages.
  static func acknowledgement(in answer: ArraySlice<UInt8>) -> Int32? {
    // The type of a struct nlmsghdr is at byte 4; the code of a struct nlmsgerr follows it.
    guard Int32(answer.dropFirst(4).number() as UInt16) == NLMSG_ERROR else { return nil }
    return 0 &- (answer.dropFirst(16).number() as Int32)
  }
}
