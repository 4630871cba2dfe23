internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import NetmapLinuxSetup

/// All requests that the broker can send to the opener.
///
/// `docs/decisions/0060-opener-and-broker.md` says for each of them what an attacker who controls
/// the broker gains.
enum OpenerRequest: Equatable {
  /// The process and user in whose name an interface is opened, as the kernel reported them to the
  /// broker.
  struct Asker: Equatable, Sendable {
    /// 0 for the daemon itself.
    var process: Int32 = 0
    var user: UInt32 = 0
  }

  /// Buffers in a memfd, whose descriptor goes with the request.
  struct Memory: Equatable {
    /// The offset of chunk 0, bytes; a multiple of the page size.
    var offset: UInt64
    var byteCount: UInt64
    var chunkSize: UInt32
    var headroom: UInt32
    var regionID: UInt16
  }

  /// Asks which interface a name means in the network namespace whose descriptor goes with the
  /// request; without a descriptor, in the opener's own.
  case identity(String, Asker)
  /// Looks up an interface, in a network namespace as for ``identity``.
  ///
  /// The answer contains the number that stands for the interface from then on.
  case interface(String, Asker)
  /// Releases the object that a number stands for: an interface, a program, a host ingress drop or
  /// a leg.
  case close(UInt32)
  /// Makes a netlink socket that receives changes of interfaces in this interface's network
  /// namespace.
  case linkEvents(of: UInt32)
  /// Makes an XDP socket in the interface's network namespace.
  case xdpSocket(interface: UInt32, Memory?)
  /// Attaches one of netmap's XDP programs to an interface.
  ///
  /// The answer contains the number that stands for the program. Its link goes with the answer and,
  /// for a program that completes frames, the map with its counters.
  case xdpProgram(interface: UInt32, XDPProgramKind)
  /// Sends the frames of a queue to an XDP socket, whose descriptor goes with the request.
  case add(program: UInt32, queue: UInt32)
  /// Sends the frames of a queue to the host again.
  case remove(program: UInt32, queue: UInt32)
  /// Makes a packet socket in the interface's network namespace.
  case packetSocket(interface: UInt32)
  /// Drops host ingress: keeps packets that arrive on an interface from the host's network stack.
  ///
  /// The answer contains the number that stands for the drop.
  case ingressDrop(interface: UInt32, avoidingLinks: Bool)
  /// Makes the leg between an interface's host stack and its host rings.
  ///
  /// The answer contains the number that stands for the leg, and the number of the leg's far end,
  /// which is an interface like any other from then on.
  case hostLeg(interface: UInt32, pairs: UInt32)
  /// Connects the host to a leg, or disconnects it.
  case connectLeg(UInt32, takesHostPackets: Bool, marks: Bool)
  /// Asks for permission to end.
  ///
  /// The opener removes the sockets first. It refuses if a client has just connected, unless
  /// `evenIfAsked` is set.
  case leave(evenIfAsked: Bool)
  /// Starts a process that runs a module for a user.
  ///
  /// A socket that contains the user's own request, with the user's credentials, goes with this
  /// request. The broker only names the user whose quota the process counts against.
  case startHost(payer: UInt32)
  /// Kills a process that runs a module.
  case endHost(Int32)
  /// Takes a block of numbers for memory regions (``RegionNumbers``).
  case regionBlock
  /// Connects to the daemon's own socket, by a socket with the name of a token.
  case connect(TokenName.Digits)
}

extension OpenerRequest {
  /// The version of the protocol.
  ///
  /// It changes with every change of a request, of an answer, or of the message that starts a
  /// broker.
  static let version: UInt16 = 5
  /// The longest request, bytes.
  static let byteCountMax = 256
  /// The most host ring pairs of an interface.
  private static let hostPairsMax: UInt32 = 64
  /// The longest name of an interface, bytes.
  private static let nameMax = 15

  /// Whether an interface can have this name.
  ///
  /// The broker must check this first: names come from all users, and a request with a name that no
  /// interface can have makes the opener end the broker.
  static func mayName(_ text: String) -> Bool {
    let name = text.utf8
    return (1...nameMax).contains(name.count) && text != "." && text != ".."
      && name.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") }
  }

  var bytes: [UInt8] {
    var writer = MessageWriter()
    writer.put(Self.version)
    func put(_ kind: UInt16, _ values: UInt32...) {
      writer.put(kind)
      for value in values { writer.put(value) }
    }
    switch self {
    case .identity(let name, let asker), .interface(let name, let asker):
      if case .identity = self { put(1) } else { put(2) }
      writer.put(name)
      writer.put(asker.process)
      writer.put(asker.user)
    case .close(let number): put(3, number)
    case .linkEvents(let number): put(4, number)
    case .xdpSocket(let number, let memory):
      put(5, number, memory == nil ? 0 : 1)
      writer.put(memory?.offset ?? 0)
      writer.put(memory?.byteCount ?? 0)
      writer.put(memory?.chunkSize ?? 0)
      writer.put(memory?.headroom ?? 0)
      writer.put(memory?.regionID ?? 0)
    case .xdpProgram(let number, let kind): put(6, number, kind.rawValue)
    case .add(let number, let queue): put(7, number, queue)
    case .remove(let number, let queue): put(8, number, queue)
    case .packetSocket(let number): put(9, number)
    case .ingressDrop(let number, let avoidingLinks): put(10, number, avoidingLinks ? 1 : 0)
    case .leave(let evenIfAsked): put(11, evenIfAsked ? 1 : 0)
    case .startHost(let payer): put(12, payer)
    case .endHost(let process): put(13, UInt32(bitPattern: process))
    case .regionBlock: put(14)
    case .connect(let name):
      put(15)
      writer.put(bytes: name.bytes)
    case .hostLeg(let number, let pairs): put(16, number, pairs)
    case .connectLeg(let number, let takesHostPackets, let marks):
      put(17, number, takesHostPackets ? 1 : 0, marks ? 1 : 0)
    }
    return writer.bytes
  }

  /// - Returns: Nil for anything that is not a request of this version.
  init?(_ bytes: [UInt8]) {
    do throws(NetmapError) {
      var reader = MessageReader(bytes)
      guard bytes.count <= Self.byteCountMax, try reader.take(UInt16.self) == Self.version else {
        return nil
      }
      let kind = try reader.take(UInt16.self)
      switch kind {
      case 1, 2:
        let text = String(decoding: try reader.takeBytes(), as: UTF8.self)
        guard Self.mayName(text) else { return nil }
        let asker = Asker(process: try reader.take(Int32.self), user: try reader.take(UInt32.self))
        self = kind == 1 ? .identity(text, asker) : .interface(text, asker)
      case 3: self = .close(try reader.take(UInt32.self))
      case 4: self = .linkEvents(of: try reader.take(UInt32.self))
      case 5:
        let number = try reader.take(UInt32.self)
        let hasMemory = try reader.takeFlag()
        let memory = Memory(
          offset: try reader.take(UInt64.self), byteCount: try reader.take(UInt64.self),
          chunkSize: try reader.take(UInt32.self), headroom: try reader.take(UInt32.self),
          regionID: try reader.take(UInt16.self))
        guard !hasMemory || memory.isValid else { return nil }
        self = .xdpSocket(interface: number, hasMemory ? memory : nil)
      case 6:
        let number = try reader.take(UInt32.self)
        guard let kind = XDPProgramKind(rawValue: try reader.take(UInt32.self)) else { return nil }
        self = .xdpProgram(interface: number, kind)
      case 7, 8:
        let (number, queue) = (try reader.take(UInt32.self), try reader.take(UInt32.self))
        self =
          kind == 7 ? .add(program: number, queue: queue) : .remove(program: number, queue: queue)
      case 9: self = .packetSocket(interface: try reader.take(UInt32.self))
      case 10:
        self = .ingressDrop(
          interface: try reader.take(UInt32.self), avoidingLinks: try reader.takeFlag())
      case 11: self = .leave(evenIfAsked: try reader.takeFlag())
      case 12: self = .startHost(payer: try reader.take(UInt32.self))
      case 13: self = .endHost(Int32(bitPattern: try reader.take(UInt32.self)))
      case 14: self = .regionBlock
      case 15:
        guard let name = TokenName.Digits(Array(try reader.takeBytes())) else { return nil }
        self = .connect(name)
      case 16:
        let (number, pairs) = (try reader.take(UInt32.self), try reader.take(UInt32.self))
        guard (1...Self.hostPairsMax).contains(pairs) else { return nil }
        self = .hostLeg(interface: number, pairs: pairs)
      case 17:
        self = .connectLeg(
          try reader.take(UInt32.self), takesHostPackets: try reader.takeFlag(),
          marks: try reader.takeFlag())
      default: return nil
      }
      guard reader.isAtEnd else { return nil }
    } catch {
      return nil
    }
  }
}

extension OpenerRequest.Memory {
  /// The most bytes of buffers in one region: a million buffers of 4096 bytes, and the spare chunk.
  private static let byteCountMax: UInt64 = 1_000_001 * 4096

  /// Whether these can be the buffers of one of the broker's regions.
  var isValid: Bool {
    (chunkSize == 2048 || chunkSize == 4096) && byteCount > 0 && byteCount <= Self.byteCountMax
      && byteCount % UInt64(chunkSize) == 0 && offset % UInt64(pageSize) == 0
      && offset <= Self.byteCountMax && Int(headroom) >= RegionLayout.kernelHeadroom
      && headroom < chunkSize
  }
}

extension MessageReader {
  /// Reads a flag, which is 0 or 1.
  fileprivate mutating func takeFlag() throws(NetmapError) -> Bool {
    let value = try take(UInt32.self)
    guard value <= 1 else { throw malformed("a flag is neither 0 nor 1") }
    return value == 1
  }
}

/// The opener's answers: numbers or a refusal.
///
/// Descriptors go with them.
enum OpenerAnswer {
  /// The longest answer, bytes.
  static let byteCountMax = 8192

  static func done(_ write: (inout MessageWriter) -> Void = { _ in }) -> [UInt8] {
    var writer = MessageWriter()
    writer.put(OpenerRequest.version)
    writer.put(UInt16(0))
    write(&writer)
    return writer.bytes
  }

  static func refused(_ error: NetmapError) -> [UInt8] {
    var writer = MessageWriter()
    writer.put(OpenerRequest.version)
    writer.put(UInt16(1))
    writer.put(error.code.rawValue)
    writer.put(error.patience)
    for text in [error.operation, error.subject, error.reason, error.remedy] {
      writer.put(bytes: text.utf8.prefix(1024))
    }
    return writer.bytes
  }

  /// The fields of an answer.
  ///
  /// - Throws: The ``NetmapError`` that the opener refused with.
  static func fields(of bytes: [UInt8]) throws(NetmapError) -> MessageReader {
    var reader = MessageReader(bytes)
    guard try reader.take(UInt16.self) == OpenerRequest.version else {
      throw reader.malformed("it is of another version")
    }
    guard try reader.take(UInt16.self) != 0 else { return reader }
    let code = NetmapError.Code(rawValue: try reader.take(Int32.self))
    let patience = try reader.take(UInt64.self)
    let (operation, subject) = (try reader.takeString(), try reader.takeString())
    let (reason, remedy) = (try reader.takeString(), try reader.takeString())
    var error = NetmapError(code, operation, subject, reason: reason, remedy: remedy)
    error.patience = patience
    throw error
  }
}
