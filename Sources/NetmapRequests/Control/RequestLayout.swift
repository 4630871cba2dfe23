/// Sizes and offsets of the structures of netmap's requests, in bytes.
///
/// The same as those of `<net/netmap.h>`, which programs contain; a test compares the two.
enum RequestLayout {
  /// `struct nmreq_header`
  enum Header {
    static let version = 0
    static let type = 2
    static let reserved = 4
    static let name = 8
    static let nameByteCount = 64
    static let options = 72
    static let body = 80
    static let byteCount = 88
  }

  /// `struct nmreq_register`
  enum Register {
    static let offset = 0
    static let memorySize = 8
    static let counts = RingCountsLayout(
      transmitSlots: 16, receiveSlots: 20, transmitRings: 24, receiveRings: 26,
      hostTransmitRings: 28,
      hostReceiveRings: 30)
    static let memoryID = 32
    static let ringID = 34
    static let mode = 36
    static let extraBuffers = 40
    static let flags = 48
    static let byteCount = 56
  }

  /// `struct nmreq_port_info_get`
  enum PortInfo {
    static let memorySize = 0
    static let counts = RingCountsLayout(
      transmitSlots: 8, receiveSlots: 12, transmitRings: 16, receiveRings: 18,
      hostTransmitRings: 20,
      hostReceiveRings: 22)
    static let memoryID = 24
    static let byteCount = 32
  }

  /// `struct nmreq_vale_attach`, which begins with a `struct nmreq_register`
  enum Attach {
    static let portIndex = 56
    static let byteCount = 64
  }

  /// `struct nmreq_vale_detach`
  enum Detach {
    static let portIndex = 0
    static let byteCount = 8
  }

  /// `struct nmreq_vale_list`
  enum List {
    static let switchIndex = 0
    static let portIndex = 4
    static let byteCount = 8
  }

  /// `struct nmreq_port_hdr`
  enum PortHeader {
    static let length = 0
    static let byteCount = 8
  }

  /// `struct nmreq_vale_newif`
  enum NewInterface {
    static let counts = RingCountsLayout(
      transmitSlots: 0, receiveSlots: 4, transmitRings: 8, receiveRings: 10)
    static let memoryID = 12
    static let byteCount = 16
  }

  /// `struct nmreq_vale_polling`
  enum Polling {
    static let mode = 0
    static let firstCPU = 4
    static let cpuCount = 8
    static let byteCount = 16
  }

  /// `struct nmreq_pools_info`
  enum Pools {
    static let memorySize = 0
    static let memoryID = 8
    /// Each pool: its offset, then the number and the size of its objects.
    static let interfaces = 16
    static let rings = 32
    static let buffers = 48
    static let poolOffset = 0
    static let poolObjectCount = 8
    static let poolObjectSize = 12
    static let byteCount = 64
  }

  /// `struct nmreq_sync_kloop_start`
  enum LoopStart {
    static let sleep = 0
    static let byteCount = 8
  }

  /// `struct nmreq_option`, with which every option begins
  enum Option {
    static let next = 0
    static let type = 8
    static let status = 12
    static let size = 16
    static let byteCount = 24
  }

  /// `struct nmreq_opt_extmem`, after the option's header
  enum ExternalMemory {
    static let address = 0
    static let pools = 8
    static let byteCount = 72
  }

  /// `struct nmreq_opt_csb`, after the option's header
  enum ControlBlocks {
    static let applicationToEngine = 0
    static let engineToApplication = 8
    static let byteCount = 16
  }

  /// `struct nmreq_opt_sync_kloop_mode`, after the option's header
  enum LoopMode {
    static let mode = 0
    static let byteCount = 8
  }

  /// `struct nmreq_opt_sync_kloop_eventfds`, after the option's header: the size of an entry
  enum EventDescriptors {
    static let toEngine = 0
    static let toApplication = 4
    static let stride = 8
  }

  /// `struct nmreq_opt_offsets`, after the option's header
  enum Offsets {
    static let maximum = 0
    static let initial = 8
    static let bits = 16
    static let transmitAlignment = 20
    static let minimumGap = 24
    static let byteCount = 32
  }

  /// `struct nmreq`
  enum Legacy {
    static let name = 0
    static let nameByteCount = 16
    static let version = 16
    static let offset = 20
    static let memorySize = 24
    static let counts = RingCountsLayout(
      transmitSlots: 28, receiveSlots: 32, transmitRings: 36, receiveRings: 38)
    static let ringID = 40
    static let command = 42
    static let argument1 = 44
    static let argument2 = 46
    static let argument3 = 48
    static let flags = 52
    static let byteCount = 60
  }

  /// `struct nm_ifreq`
  enum Configuration {
    static let name = 0
    static let nameByteCount = 16
    static let data = 16
    static let dataByteCount = 256
    static let byteCount = 272
  }
}

/// Where a structure has its slot and ring counts. Legacy structures have no host rings.
struct RingCountsLayout {
  let transmitSlots: Int
  let receiveSlots: Int
  let transmitRings: Int
  let receiveRings: Int
  var hostTransmitRings: Int?
  var hostReceiveRings: Int?
}
