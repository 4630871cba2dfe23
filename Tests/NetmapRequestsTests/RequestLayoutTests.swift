import CNetmap
import Testing

@testable import NetmapRequests
