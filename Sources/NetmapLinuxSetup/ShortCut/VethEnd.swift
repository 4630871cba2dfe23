internal import CLinux
internal import Glibc
internal import NetmapCore

/// An open end of a veth pair: what the kernel says about it now, asked in its network namespace.
///
/// One thread at a time may use it.
final class VethEnd: Sendable {
  let interface: LinuxInterface
  /// Its network namespace; nil where the caller could not name it.
  private let namespace: OwnedFile?
  /// A netlink socket of its network namespace.
  private let socket: OwnedFile

  /// What the kernel says about the interface at one moment.
  struct State: Equatable {
    /// Whether it is up, and its peer as well.
    var isRunning: Bool
    /// The largest payload of a frame, bytes.
    var mtu: UInt32
    /// The peer's index in the peer's namespace.
    var peer: UInt32
    /// The number that the interface's namespace has for the peer's; nil for the same namespace.
    var peerNamespace: Int32?
    /// Whether an XDP program is attached.
    var hasProgram: Bool
  }

  /// Nil for an interface that is no veth.
  ///
  /// - Parameter interface: The interface, of any kind. The calling thread has interfaces looked up in its namespace.
  /// - Throws: ``NetmapError`` `EMFILE`, or the error of the kernel.
  init?(_ interface: LinuxInterface) throws(NetmapError) {
    self.interface = interface
    namespace = interface.rights.askedNamespace()
    let file = OwnedFile(try interface.rights.linkEvents(of: interface))
    socket = file
    // Only answers shall arrive here, and a question waits for them.
    var group = CLINUX_RTNLGRP_LINK
    guard
      unsafe setsockopt(
        file.descriptor, CLINUX_SOL_NETLINK, CLINUX_NETLINK_DROP_MEMBERSHIP, &group, 4) == 0,
      fcntl(file.descriptor, F_SETFL, 0) == 0
    else { throw systemError("setsockopt", "netlink") }
    // Changes from before the membership ended.
    var byte: UInt8 = 0
    while unsafe recv(file.descriptor, &byte, 1, CInt(MSG_DONTWAIT)) >= 0 || errno == ENOBUFS {}
    guard try link().kind == "veth" else { return nil }
  }

  private func link() throws(NetmapError) -> LinkDescription {
    try LinkDescription(
      reply: try NetlinkMessage(RTM_GETLINK, interface: interface.index).exchange(
        interface.name, on: socket.descriptor), named: interface.name)
  }

  /// The present state.
  ///
  /// - Throws: ``NetmapError`` `ENODEV` when the interface has left its namespace, `EIO` when it is no veth any more.
  func state() throws(NetmapError) -> State {
    let link = try link()
    guard link.kind == "veth", let mtu = link.value(of: IFLA_MTU),
      let peer = link.value(of: IFLA_LINK)
    else {
      throw NetmapError(
        .inputOutput, "look up", interface.name, reason: "it is no veth with a peer")
    }
    let program = link.value(of: IFLA_XDP).flatMap {
      LinkDescription.value(of: IFLA_XDP_ATTACHED, in: $0)
    }
    let running = UInt32(CLINUX_IFF_UP | CLINUX_IFF_RUNNING)
    return State(
      isRunning: link.flags & running == running, mtu: mtu.number(), peer: peer.number(),
      peerNamespace: link.value(of: IFLA_LINK_NETNSID)?.number(),
      hasProgram: program?.first ?? 0 != 0)
  }

  /// The number that this end's namespace has for another one; nil when it has none.
  private func number(of namespace: OwnedFile) throws(NetmapError) -> Int32? {
    // struct rtgenmsg, of one byte, is padded to four.
    var request = NetlinkMessage(Int(CLINUX_RTM_GETNSID), flags: NLM_F_ACK, UInt32(0))
    request.attribute(Int(CLINUX_NETNSA_FD), UInt32(bitPattern: namespace.descriptor))
    let answer = try request.exchange(interface.name, on: socket.descriptor)
    // struct nlmsghdr has 16 bytes.
    guard answer.count >= 20,
      let number = LinkDescription.value(of: Int(CLINUX_NETNSA_NSID), in: answer[20...])
    else { return nil }
    let value: Int32 = number.number()
    return value >= 0 ? value : nil
  }

  /// Whether another end is the peer of this one now.
  ///
  /// Indexes alone do not tell, because each namespace has its own. False also where nobody could say which namespaces
  /// the ends are in.
  ///
  /// - Throws: ``NetmapError`` as ``state()``.
  func isPeer(of other: VethEnd) throws(NetmapError) -> Bool {
    let (mine, others) = (try state(), try other.state())
    guard mine.peer == other.interface.index, others.peer == interface.index else { return false }
    if interface.namespace == other.interface.namespace {
      return mine.peerNamespace == nil && others.peerNamespace == nil
    }
    guard let there = mine.peerNamespace, let here = others.peerNamespace else { return false }
    if let file = other.namespace, try number(of: file) != there { return false }
    if let file = namespace, try other.number(of: file) != here { return false }
    return namespace != nil || other.namespace != nil
  }

  /// A queueing discipline of the interface that somebody has added, such as `clsact`, which holds the filters of tc;
  /// nil when there is none.
  ///
  /// - Throws: ``NetmapError`` with the error of the kernel.
  func foreignDiscipline() throws(NetmapError) -> String? {
    let request = NetlinkMessage(RTM_GETQDISC, flags: NLM_F_DUMP, tcmsg())
    var rest = try request.exchange(interface.name, on: socket.descriptor)[...]
    while rest.count >= 36 {
      let length = Int(rest.number() as UInt32)
      // struct nlmsghdr has 16 bytes; struct tcmsg, of 20, has the interface at byte 4.
      guard (16...rest.count).contains(length) else { return nil }
      let message = rest.prefix(length)
      if Int(message.dropFirst(4).number() as UInt16) == RTM_NEWQDISC, message.count > 36,
        message.dropFirst(20).number() as UInt32 == interface.index,
        let kind = LinkDescription.value(of: TCA_KIND, in: message.dropFirst(36))
      {
        let name = String(decoding: kind.prefix { $0 != 0 }, as: UTF8.self)
        if name != "noqueue" { return name }
      }
      rest = rest.dropFirst((length + 3) & ~3)
    }
    return nil
  }
}
